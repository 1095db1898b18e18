"""Self-explainable models, and the models of the store."""
