"""Relevance methods, one file each; see `RelevanceMethod`."""
