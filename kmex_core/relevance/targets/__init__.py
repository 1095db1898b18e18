"""Targets of relevance maps, one file each; see `Target`."""
