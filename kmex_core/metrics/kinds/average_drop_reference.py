"""Average drop as published."""

from __future__ import annotations

from kmex_core.metrics.metric import MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed, image_means


class AverageDropReference(Metric):
    """Average drop as published."""

    name = "average_drop_reference"
    title = "Average drop as published"
    better = "lower"
    unit = "share"
    about = (
        "The drop of the similarity of the paper's released code, which takes the distance instead of its "
        "square; by their own similarity for built-in prototypes. Only this one is comparable with the "
        "paper's Table 4."
    )
    group, place = MAPS, 7
    reference_of = "average_drop"
    of_both = True
    table = 4
    maps = True

    def measure(self, run: Run) -> Value:
        """(N,) image by image, the mean over the prototypes of its class."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else image_means(scores.drop_reference)

    def measure_black_box(self, run: Run) -> Value:
        """(N,) image by image."""
        scores = run.scores
        return scores if isinstance(scores, NotComputed) else scores.drop_black_box
