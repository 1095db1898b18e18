"""The foundation of every other package."""
