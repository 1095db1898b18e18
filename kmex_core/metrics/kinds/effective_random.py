"""Effective number of random images: the chance level of the effective number of prototypes."""

from __future__ import annotations

from kmex_core.metrics.metric import COUNT, DIVERSITY, DOT_PRODUCT, Metric, Run, Value


class EffectiveRandom(Metric):
    """Effective number of random images."""

    name = "effective_random"
    title = "Effective number, random images"
    better = ""
    about = (
        "The effective number of as many random training images of each class as it has prototypes (mean over 100 "
        "draws): the chance level of the effective number of prototypes. Means of many images are closer together than "
        "single images, so KMEx's prototypes often score lower."
    )
    group, place = DIVERSITY, 2
    chance_of = "effective"
    chance_name = "random images"
    range = COUNT

    def measure(self, run: Run) -> Value:
        """Of random images; not computed if the similarity is not based on a distance."""
        value = run.converted.summary.effective_random
        return DOT_PRODUCT if value is None else value
