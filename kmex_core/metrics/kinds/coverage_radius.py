"""Coverage radius."""

from __future__ import annotations

from kmex_core.metrics.families import SummaryMetric
from kmex_core.metrics.metric import ANY


class CoverageRadius(SummaryMetric):
    """Coverage radius."""

    name = "coverage_radius"
    title = "Coverage radius"
    better = "lower"
    about = (
        "95% of the test images are within this distance of their nearest prototype, in the embedding's unit. "
        "Comparable between numbers of prototypes of one network, not between networks."
    )
    place = 5
    range = ANY
    between_networks = False
