"""D_dvs within classes."""

from __future__ import annotations

from kmex_core.metrics.metric import DIVERSITY, ONE_PER_CLASS, Metric, Run, Value


class Diversity(Metric):
    """D_dvs within classes."""

    name = "diversity"
    title = "D_dvs within classes"
    better = "lower"
    about = (
        "The paper's diversity, 0 (all different) to 1 (all alike), in exact arithmetic. With KMEx's similarity, "
        "log((d² + 1) / (d² + ε)), a prototype's similarity to itself is 9.2, which keeps the value near 0 "
        "unless prototypes nearly coincide."
    )
    group, place = DIVERSITY, 6

    def measure(self, run: Run) -> Value:
        """Of the prototypes."""
        value = run.summary.diversity
        return ONE_PER_CLASS if value is None else value
