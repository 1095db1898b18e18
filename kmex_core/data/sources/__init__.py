"""A file per kind of data set."""
