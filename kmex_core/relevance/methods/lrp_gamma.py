"""Layer-wise relevance propagation by the γ rule."""

from __future__ import annotations

from kmex_core.relevance.propagation import Propagation


class LRPGamma(Propagation):
    """LRP by the γ rule, γ = 0.25, with biases in the denominators (Montavon et al. 2019)."""

    name = "lrp-gamma"
    title = "LRP, rule γ"
    about = "Layer-wise relevance propagation that favours excitation, for networks like ResNet and VGG."
    place = 5
    rule = "gamma"
