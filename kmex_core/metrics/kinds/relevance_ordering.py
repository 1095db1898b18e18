"""Relevance ordering."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.ordering import curve_area
from kmex_core.metrics.types import NotComputed


class RelevanceOrdering(Metric):
    """Relevance ordering."""

    name = "relevance_ordering"
    title = "Relevance ordering"
    better = "higher"
    about = (
        "Area under the curve of the predicted class's probability as pixels are added, most relevant first (RO, 0 "
        "to 1). Compare with random ordering."
    )
    group, place = MAPS, 11
    of_both = True
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else curve_area(scores.curve)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else curve_area(scores.curve_black_box)
