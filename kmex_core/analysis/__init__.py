"""What results mean, in tables and words."""
