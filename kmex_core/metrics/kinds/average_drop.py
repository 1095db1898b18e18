"""Average drop."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed


class AverageDrop(Metric):
    """Average drop."""

    name = "average_drop"
    title = "Average drop"
    better = "lower"
    unit = "share"
    about = (
        "Share of the similarity lost when the less relevant half of the pixels is removed (AD), averaged over the "
        "images and the prototypes of their class. For the black box: share of the probability of its prediction."
    )
    group, place = MAPS, 2
    of_both = True
    table = 4
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image, or (N, k) for the prototypes of its class."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.drop

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.drop_black_box
