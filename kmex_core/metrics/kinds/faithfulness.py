"""Divergence of relevance maps."""

from __future__ import annotations

from kmex_core.metrics.metric import ANY, MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed


class Faithfulness(Metric):
    """Divergence of relevance maps."""

    name = "faithfulness"
    title = "Divergence of relevance maps"
    better = "lower"
    unit = "nats"
    about = (
        "Kullback-Leibler divergence of KMEx's relevance maps from the black box's for the same class "
        "(D_fdl); 0 when they are equal. Built-in prototypes are compared with a black box trained on the "
        "same data."
    )
    group, place = MAPS, 1
    table = 6
    maps = True
    range = ANY

    def measure(self, run: Run) -> Value:
        """(N,) nats, image by image."""
        divergences = run.divergences
        return divergences if isinstance(divergences, NotComputed) else divergences.divergence
