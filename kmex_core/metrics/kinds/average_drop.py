"""Average drop."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed, image_means


class AverageDrop(Metric):
    """Average drop."""

    name = "average_drop"
    title = "Average drop"
    better = "lower"
    unit = "share"
    about = (
        "Share of the similarity lost when the less relevant half of the pixels is removed (AD), averaged "
        "over the prototypes of an image's class, then over the images. For the black box: share of the "
        "probability of its prediction."
    )
    group, place = MAPS, 5
    of_both = True
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image, the mean over the prototypes of its class."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else image_means(scores.drop)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.drop_black_box
