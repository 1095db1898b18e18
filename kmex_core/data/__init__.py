"""Users' files as pixels and labels."""
