"""Prototypes of an embedding."""
