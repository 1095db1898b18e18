"""Divergence of a uniform map."""

from __future__ import annotations

from kmex_core.metrics.families import DivergenceMetric


class FaithfulnessUniform(DivergenceMetric):
    """Divergence of a uniform map."""

    name = "faithfulness_uniform"
    title = "Divergence of a uniform map"
    better = ""
    about = "The same divergence of a map that is equal everywhere."
    place = 2
    part = "divergence_uniform"
    chance_of = "faithfulness"
    chance_name = "a uniform map"
