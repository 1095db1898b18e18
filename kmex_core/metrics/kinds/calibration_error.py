"""Calibration error."""

from __future__ import annotations

from kmex_core.metrics.calibration import expected_calibration_error
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
        return expected_calibration_error(run.certainty.probability, run.converted.test_predicted == run.test.labels)

    def measure_black_box(self, run: Run) -> Value:
        """Over the test split."""
        if run.certainty.black_box is None:
            return NO_PREDICTIONS
        return expected_calibration_error(run.certainty.black_box, run.test.black_box == run.test.labels)
