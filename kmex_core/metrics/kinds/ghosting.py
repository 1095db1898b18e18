"""Ghost prototypes."""

from __future__ import annotations

from kmex_core.metrics.metric import TRANSPARENCY, Metric, Run, Value


class Ghosting(Metric):
    """Ghost prototypes."""

    name = "ghosting"
    title = "Ghost prototypes"
    better = "lower"
    unit = "share"
    about = "Share of prototypes that are not the nearest prototype of any training image of their class (D_tsp)."
    group, place = TRANSPARENCY, 1
    table = 5

    def measure(self, run: Run) -> Value:
        """Of the prototypes."""
        return run.summary.ghosting
