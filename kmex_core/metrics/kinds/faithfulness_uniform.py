"""Divergence of a uniform map."""

from __future__ import annotations

from kmex_core.metrics.metric import ANY, MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed


class FaithfulnessUniform(Metric):
    """Divergence of a uniform map."""

    name = "faithfulness_uniform"
    title = "Divergence of a uniform map"
    better = ""
    unit = "nats"
    about = "The same divergence of a map that is equal everywhere."
    group, place = MAPS, 2
    chance_of = "faithfulness"
    chance_name = "a uniform map"
    maps = True
    range = ANY

    def measure(self, run: Run) -> Value:
        """(N,) nats, image by image."""
        divergences = run.divergences
        return divergences if isinstance(divergences, NotComputed) else divergences.divergence_uniform
