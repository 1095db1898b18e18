"""Results that are computed once and kept in the store."""
