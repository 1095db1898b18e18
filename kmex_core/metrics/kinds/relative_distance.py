"""Distance between prototypes."""

from __future__ import annotations

import numpy as np

from kmex_core.metrics.diversity import relative_distance
from kmex_core.metrics.metric import ANY, DIVERSITY, ONE_PER_CLASS, Metric, Run, Value


class RelativeDistance(Metric):
    """Distance between prototypes."""

    name = "relative_distance"
    title = "Distance between prototypes"
    better = "higher"
    unit = "SD"
    about = (
        "Mean distance from a prototype to the nearest other one of its class, in standard deviations (SD) of the "
        "class."
    )
    group, place = DIVERSITY, 4
    range = ANY

    def measure(self, run: Run) -> Value:
        """In standard deviations of the class; not computed for one prototype per class."""
        prototypes = run.prototypes
        if np.bincount(prototypes.classes).max() < 2:
            return ONE_PER_CLASS
        return relative_distance(prototypes.centers, prototypes.classes, run.variance)
