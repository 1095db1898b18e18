"""Sources of networks from outside this product, one file each; see `ArchitectureSource`."""
