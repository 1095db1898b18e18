"""Effective number of equidistant groups: the value that separate groups would have."""

from __future__ import annotations

from kmex_core.metrics.families import SummaryMetric
from kmex_core.metrics.metric import COUNT


class EffectiveEquidistant(SummaryMetric):
    """Effective number of equidistant groups."""

    name = "effective_equidistant"
    title = "Effective number, equidistant groups"
    better = ""
    about = (
        "The effective number for a class that consists of as many equally distant groups as it has prototypes, one "
        "prototype in each: for comparison with the effective number of prototypes."
    )
    place = 3
    chance_of = "effective"
    chance_name = "equidistant groups"
    range = COUNT
