"""One file per metric, collected by `catalogue`."""
