"""Effective number of equidistant groups: the value that separate groups would have."""

from __future__ import annotations

from kmex_core.metrics.metric import COUNT, DIVERSITY, DOT_PRODUCT, Metric, Run, Value


class EffectiveEquidistant(Metric):
    """Effective number of equidistant groups."""

    name = "effective_equidistant"
    title = "Effective number, equidistant groups"
    better = ""
    about = (
        "The effective number for a class that consists of as many equally distant groups as it has prototypes, one "
        "prototype in each: for comparison with the effective number of prototypes."
    )
    group, place = DIVERSITY, 3
    chance_of = "effective"
    chance_name = "equidistant groups"
    range = COUNT

    def measure(self, run: Run) -> Value:
        """For the numbers of prototypes; not computed if the similarity is not based on a distance."""
        value = run.converted.summary.effective_equidistant
        return DOT_PRODUCT if value is None else value
