"""Prototypical relevance propagation."""

from __future__ import annotations

from kmex_core.relevance.propagation import Propagation


class PrototypicalRelevancePropagation(Propagation):
    """LRP by the α1β0 rule; with the target `similarity` PRP as published (Gautam et al., Pattern Recognition 136,
    2023): a similarity is distributed over the embedding's dimensions and propagated to the pixels."""

    name = "prp"
    title = "Prototypical relevance propagation (PRP)"
    about = "Layer-wise relevance propagation by the rule α1β0 (as published), for networks like ResNet and VGG."
    place = 4
    rule = "alpha1-beta0"
