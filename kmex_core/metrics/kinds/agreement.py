"""Agreement."""

from __future__ import annotations

from kmex_core.metrics.metric import NO_PREDICTIONS, PREDICTIONS, Metric, Run, Value


class Agreement(Metric):
    """Agreement."""

    name = "agreement"
    title = "Agreement"
    better = "higher"
    unit = "share"
    about = "Share of the test images for which KMEx and the black box predict the same class, correct or not."
    group, place = PREDICTIONS, 2
    beside = True

    def measure(self, run: Run) -> Value:
        """Over the test split."""
        agreement = run.summary.agreement
        return NO_PREDICTIONS if agreement is None else agreement
