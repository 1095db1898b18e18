"""The paper's other prototypical self-explainable models, one file each; see `Baseline`."""
