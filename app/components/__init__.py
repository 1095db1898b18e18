"""Reusable blocks of the pages."""
