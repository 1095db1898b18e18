"""Average increase, random order."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed, image_means


class AverageIncreaseRandom(Metric):
    """Average increase, random order."""

    name = "average_increase_random"
    title = "Average increase, random order"
    better = ""
    unit = "share"
    about = "How often the similarity grows when a random half of the pixels is removed."
    group, place = MAPS, 9
    chance_of = "average_increase"
    chance_name = "a random order of pixels"
    of_both = True
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image, the mean over the prototypes of its class."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else image_means(scores.increase_random)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.increase_black_box_random
