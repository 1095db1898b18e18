"""D_dvs over all prototypes."""

from __future__ import annotations

from kmex_core.metrics.diversity import diversity, similarity_diversity
from kmex_core.metrics.metric import DIVERSITY, SINGLE, Metric, Run, Value


class DiversityAll(Metric):
    """D_dvs over all prototypes."""

    name = "diversity_all"
    title = "D_dvs over all prototypes"
    better = "lower"
    about = "The paper's diversity by its formula, over the prototypes of all classes, in exact arithmetic."
    group, place = DIVERSITY, 7

    def measure(self, run: Run) -> Value:
        """By the model's own similarity; not computed for a single prototype."""
        prototypes, among = run.prototypes, run.similarity_among
        if len(prototypes) < 2:
            return SINGLE
        if among is None:
            return diversity(prototypes.centers, prototypes.classes, "all")
        return similarity_diversity(among, prototypes.classes, "all")
