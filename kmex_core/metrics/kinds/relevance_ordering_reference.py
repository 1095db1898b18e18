"""Relevance ordering as published."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.ordering import curve_area
from kmex_core.metrics.types import NotComputed


class RelevanceOrderingReference(Metric):
    """Relevance ordering as published."""

    name = "relevance_ordering_reference"
    title = "Relevance ordering as published"
    better = "higher"
    about = (
        "The area for the probability of the paper, a softmax of the similarities to all prototypes, which nothing "
        "calibrates."
    )
    group, place = MAPS, 13
    reference_of = "relevance_ordering"
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else curve_area(scores.curve_reference)
