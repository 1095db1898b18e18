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
        "95 % of the test images are within this distance of their nearest prototype, in the embedding's unit. "
        "Comparable between numbers of prototypes of one network, not between networks."
    )
    group, place = DIVERSITY, 3
    range = ANY

    def measure(self, run: Run) -> Value:
        """In the embedding's unit; not computed if the similarity is not based on a distance."""
        if run.certainty.nearest is None:
            return NotComputed("The model's similarity is a dot product, which is not based on a distance.")
        return coverage_radius(run.certainty.nearest)
