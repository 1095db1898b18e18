"""Sources of backbones, one file each; see `BackboneSource`."""
