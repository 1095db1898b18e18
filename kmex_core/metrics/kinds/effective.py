"""Effective number of prototypes per class."""

from __future__ import annotations

from kmex_core.metrics.families import SummaryMetric
from kmex_core.metrics.metric import COUNT


class Effective(SummaryMetric):
    """Effective number of prototypes per class."""

    name = "effective"
    title = "Effective number"
    better = "higher"
    about = (
        "Effective number of prototypes per class: the Vendi score with a Gaussian kernel as wide as the class, "
        "averaged over the classes, from 1 (all prototypes coincide) to the number of prototypes. It reads low: 20 "
        "separate, equally distant groups score 12.0. Compare it with the values for random training images and for "
        "equidistant groups."
    )
    place = 1
    range = COUNT
