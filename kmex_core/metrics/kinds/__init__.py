"""A file per metric; `catalogue` collects them."""
