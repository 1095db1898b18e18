"""What makes files of the repository; `make` runs it."""
