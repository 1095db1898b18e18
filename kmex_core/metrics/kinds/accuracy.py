"""Accuracy."""

from __future__ import annotations

from kmex_core.metrics.metric import NO_PREDICTIONS, PREDICTIONS, Metric, Run, Value


class Accuracy(Metric):
    """Accuracy."""

    name = "accuracy"
    title = "Accuracy"
    better = "higher"
    unit = "share"
    about = (
        "Share of the test images that are classified correctly. KMEx is correct when the nearest prototype has the "
        "image's class."
    )
    group, place = PREDICTIONS, 1
    of_both = True
    table = 3

    def measure(self, run: Run) -> Value:
        """Over the test split."""
        return run.summary.accuracy_kmex

    def measure_black_box(self, run: Run) -> Value:
        """Over the test split."""
        accuracy = run.summary.accuracy_black_box
        return NO_PREDICTIONS if accuracy is None else accuracy
