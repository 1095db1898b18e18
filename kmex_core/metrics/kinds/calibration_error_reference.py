"""Calibration error of the published probability."""

from __future__ import annotations

from kmex_core.metrics.metric import PREDICTIONS, Metric, Run, Value


class CalibrationErrorReference(Metric):
    """Calibration error of the published probability."""

    name = "calibration_error_reference"
    title = "Calibration error, as published"
    better = "lower"
    unit = "share"
    about = (
        "The same gap for the probability of the paper, a softmax of the similarities to all prototypes (for built-in "
        "prototypes, of the class scores), which nothing calibrates. The prediction is the same."
    )
    group, place = PREDICTIONS, 4
    reference_of = "calibration_error"

    def measure(self, run: Run) -> Value:
        """Over the test split."""
        return run.certainty.published.error
