"""Classifiers of any kind, as an encoder and a head."""
