"""D_dvs as published."""

from __future__ import annotations

from kmex_core.metrics.metric import DIVERSITY, SINGLE, Metric, Run, Value


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
        value = run.converted.summary.diversity_reference
        return SINGLE if value is None else value
