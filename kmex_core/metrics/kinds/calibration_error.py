"""Calibration error."""

from __future__ import annotations

from kmex_core.metrics.metric import NO_PREDICTIONS, PREDICTIONS, Metric, Run, Value


class CalibrationError(Metric):
    """Calibration error."""

    name = "calibration_error"
    title = "Calibration error"
    better = "lower"
    unit = "share"
    about = (
        "Gap between the probability of the predicted class and the accuracy, averaged over the test images (ECE, "
        "15 bins). The probability is a softmax of the negative squared distances to the prototypes; its temperature "
        "is fitted on held-out images, never on the ones it is measured on."
    )
    group, place = PREDICTIONS, 3
    of_both = True

    def measure(self, run: Run) -> Value:
        """Over the test split."""
        return run.certainty.probability.error

    def measure_black_box(self, run: Run) -> Value:
        """Over the test split."""
        black_box = run.certainty.black_box
        return NO_PREDICTIONS if black_box is None else black_box.error
