"""Random ordering."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.ordering import curve_area
from kmex_core.metrics.types import NotComputed


class RelevanceOrderingRandom(Metric):
    """Random ordering."""

    name = "relevance_ordering_random"
    title = "Random ordering"
    better = ""
    about = "The same area with pixels added in random order: the baseline for relevance ordering."
    group, place = MAPS, 12
    chance_of = "relevance_ordering"
    chance_name = "a random order of pixels"
    of_both = True
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else curve_area(scores.curve_random)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else curve_area(scores.curve_black_box_random)
