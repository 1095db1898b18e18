"""D_dvs as published."""

from __future__ import annotations

from kmex_core.metrics.metric import DIVERSITY, SINGLE, Metric, Run, Value


class DiversityReference(Metric):
    """D_dvs as published."""

    name = "diversity_reference"
    title = "D_dvs as published"
    better = "lower"
    about = (
        "The paper's diversity as its released code computes it: rounding in float32 keeps a prototype from being "
        "at distance 0 from itself, which raises the number. Only this one compares with the paper's tables."
    )
    group, place = DIVERSITY, 6
    table = 7

    def measure(self, run: Run) -> Value:
        """Of the prototypes."""
        value = run.converted.summary.diversity_reference
        return SINGLE if value is None else value
