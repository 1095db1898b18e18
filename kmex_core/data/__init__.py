"""Files from users, as pixels and labels."""
