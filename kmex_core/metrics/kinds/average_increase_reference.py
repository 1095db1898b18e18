"""Average increase as published."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed, image_means


class AverageIncreaseReference(Metric):
    """Average increase as published."""

    name = "average_increase_reference"
    title = "Average increase as published"
    better = "higher"
    unit = "share"
    about = (
        "The increase of the similarity of the paper's released code, which takes the distance instead of its "
        "square; by their own similarity for built-in prototypes. Only this one is comparable with the "
        "paper's Table 4."
    )
    group, place = MAPS, 10
    reference_of = "average_increase"
    of_both = True
    table = 4
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image, the mean over the prototypes of its class."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else image_means(scores.increase_reference)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.increase_black_box
