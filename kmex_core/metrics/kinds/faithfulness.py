"""Divergence of maps."""

from __future__ import annotations

from kmex_core.metrics.metric import ANY, MAPS, Metric, Run, Value


class Faithfulness(Metric):
    """Divergence of maps."""

    name = "faithfulness"
    title = "Divergence of maps"
    better = "lower"
    unit = "nats"
    about = (
        "How far the relevance maps of KMEx's prediction are from the black box's for the same class (D_fdl, "
        "Kullback-Leibler divergence); 0 when they are the same. A prototypical model on its own is compared with "
        "a black box of the same data."
    )
    group, place = MAPS, 1
    table = 6
    maps = True
    range = ANY

    def measure(self, run: Run) -> Value:
        """(N,) nats, image by image."""
        return run.divergence
