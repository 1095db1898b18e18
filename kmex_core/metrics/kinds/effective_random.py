"""Effective number of random images: the chance level of the effective number of prototypes."""

from __future__ import annotations

from kmex_core.metrics.families import SummaryMetric
from kmex_core.metrics.metric import COUNT


class EffectiveRandom(SummaryMetric):
    """Effective number of random images."""

    name = "effective_random"
    title = "Effective number, random images"
    better = ""
    about = (
        "The effective number of as many random training images of each class as it has prototypes (mean over 100 "
        "draws): the chance level of the effective number of prototypes. Means of many images are closer together than "
        "single images, so KMEx's prototypes often score lower."
    )
    place = 2
    chance_of = "effective"
    chance_name = "random images"
    range = COUNT
