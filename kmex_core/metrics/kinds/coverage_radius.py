"""Coverage radius."""

from __future__ import annotations

from kmex_core.metrics.diversity import coverage_radius
from kmex_core.metrics.metric import ANY, DIVERSITY, Metric, Run, Value
from kmex_core.metrics.types import NotComputed


class CoverageRadius(Metric):
    """Coverage radius."""

    name = "coverage_radius"
    title = "Coverage radius"
    better = "lower"
    about = (
        "95 % of the test images lie within this distance of their nearest prototype, in the embedding's own "
        "unit: it compares numbers of prototypes of one network, not networks."
    )
    group, place = DIVERSITY, 3
    range = ANY

    def measure(self, run: Run) -> Value:
        """In the embedding's unit; not computed where the similarity is not made of a distance."""
        if run.certainty.nearest is None:
            return NotComputed("Its similarity is a dot product, which is not made of a distance.")
        return coverage_radius(run.certainty.nearest)
