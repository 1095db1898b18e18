"""Effective number of prototypes per class."""

from __future__ import annotations

from kmex_core.metrics.metric import COUNT, DIVERSITY, DOT_PRODUCT, Metric, Run, Value


class Effective(Metric):
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
    group, place = DIVERSITY, 1
    range = COUNT

    def measure(self, run: Run) -> Value:
        """Of the prototypes; not computed if the similarity is not based on a distance."""
        value = run.converted.summary.effective
        return DOT_PRODUCT if value is None else value
