"""D_dvs as published."""

from __future__ import annotations

from kmex_core.metrics.metric import DIVERSITY, SINGLE, TOO_MANY, Metric, Run, Value


class DiversityReference(Metric):
    """D_dvs as published."""

    name = "diversity_reference"
    title = "D_dvs as published"
    better = "lower"
    about = (
        "The paper's diversity as computed by its released code: float32 rounding makes a prototype's distance to "
        "itself nonzero, which raises the value. Only this one is comparable with the paper's tables."
    )
    group, place = DIVERSITY, 8
    reference_of = "diversity"
    table = 7

    def measure(self, run: Run) -> Value:
        """Of the prototypes."""
        value = run.summary.diversity_reference
        if value is None:
            return SINGLE if len(run.prototypes) < 2 else TOO_MANY
        return value
