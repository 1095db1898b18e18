"""Divergence of another image's map."""

from __future__ import annotations

from kmex_core.metrics.families import DivergenceMetric


class FaithfulnessOtherImage(DivergenceMetric):
    """Divergence of another image's map."""

    name = "faithfulness_other_image"
    title = "Divergence of another image's map"
    better = ""
    about = "The same divergence of the relevance map of another test image, drawn at random."
    place = 3
    part = "divergence_other_image"
    chance_of = "faithfulness"
    chance_name = "another image's map"
