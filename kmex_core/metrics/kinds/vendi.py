"""Effective prototypes per class."""

from __future__ import annotations

from kmex_core.metrics.metric import COUNT, DIVERSITY, Metric, Run, Value


class Vendi(Metric):
    """Effective prototypes per class."""

    name = "vendi"
    title = "Effective prototypes per class"
    better = "higher"
    about = (
        "Average number of clearly different prototypes per class, from 1 (all alike) to the number of prototypes "
        "(Vendi score of their cosine similarities)."
    )
    group, place = DIVERSITY, 1
    range = COUNT

    def measure(self, run: Run) -> Value:
        """Of the prototypes."""
        return run.converted.summary.effective
