"""Where backbones come from; a file with a subclass of `BackboneSource` adds one or a family."""
