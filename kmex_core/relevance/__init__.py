"""Which pixels a similarity or a prediction comes from: PRP and LRP, and gradients where LRP has no rules."""
