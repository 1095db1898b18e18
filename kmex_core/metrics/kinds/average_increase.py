"""Average increase."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed, image_means


class AverageIncrease(Metric):
    """Average increase."""

    name = "average_increase"
    title = "Average increase"
    better = "higher"
    unit = "share"
    about = (
        "How often the similarity grows when the less relevant half of the pixels is removed (AI), over the "
        "prototypes of an image's class, then over the images."
    )
    group, place = MAPS, 8
    of_both = True
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image, the mean over the prototypes of its class."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else image_means(scores.increase)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.increase_black_box
