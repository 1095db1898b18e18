"""The other prototypical self-explainable models of the paper; a file with a subclass of `Baseline` adds one."""
