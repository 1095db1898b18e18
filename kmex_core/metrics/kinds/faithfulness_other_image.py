"""Divergence of another image's map."""

from __future__ import annotations

from kmex_core.metrics.metric import ANY, MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed


class FaithfulnessOtherImage(Metric):
    """Divergence of another image's map."""

    name = "faithfulness_other_image"
    title = "Divergence of another image's map"
    better = ""
    unit = "nats"
    about = "The same divergence of the relevance map of another test image, drawn at random."
    group, place = MAPS, 3
    chance_of = "faithfulness"
    chance_name = "another image's map"
    maps = True
    range = ANY

    def measure(self, run: Run) -> Value:
        """(N,) nats, image by image."""
        divergences = run.divergences
        return divergences if isinstance(divergences, NotComputed) else divergences.divergence_other_image
