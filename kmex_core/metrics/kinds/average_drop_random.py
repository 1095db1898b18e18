"""Average drop, random order."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed, image_means


class AverageDropRandom(Metric):
    """Average drop, random order."""

    name = "average_drop_random"
    title = "Average drop, random order"
    better = ""
    unit = "share"
    about = "The same drop when a random half of the pixels is removed."
    group, place = MAPS, 6
    chance_of = "average_drop"
    chance_name = "a random order of pixels"
    of_both = True
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image, the mean over the prototypes of its class."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else image_means(scores.drop_random)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.drop_black_box_random
