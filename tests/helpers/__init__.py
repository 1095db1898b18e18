"""What several test modules need, one module per topic: they import it from here, never from each other."""
