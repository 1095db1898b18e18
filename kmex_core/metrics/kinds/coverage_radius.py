"""Coverage radius."""

from __future__ import annotations

from kmex_core.metrics.metric import ANY, DIVERSITY, DOT_PRODUCT, Metric, Run, Value


class CoverageRadius(Metric):
    """Coverage radius."""

    name = "coverage_radius"
    title = "Coverage radius"
    better = "lower"
    about = (
        "95 % of the test images are within this distance of their nearest prototype, in the embedding's unit. "
        "Comparable between numbers of prototypes of one network, not between networks."
    )
    group, place = DIVERSITY, 5
    range = ANY

    def measure(self, run: Run) -> Value:
        """In the embedding's unit; not computed if the similarity is not based on a distance."""
        radius = run.converted.summary.coverage_radius
        return DOT_PRODUCT if radius is None else radius
