"""Divergence of relevance maps."""

from __future__ import annotations

from kmex_core.metrics.families import DivergenceMetric


class Faithfulness(DivergenceMetric):
    """Divergence of relevance maps."""

    name = "faithfulness"
    title = "Divergence of relevance maps"
    better = "lower"
    about = (
        "Kullback-Leibler divergence of KMEx's relevance maps from the black box's for the same class "
        "(D_fdl); 0 when they are equal. Built-in prototypes are compared with a black box trained on the "
        "same data."
    )
    place = 1
    part = "divergence"
    table = 6
