"""Divergence of the runner-up's map."""

from __future__ import annotations

from kmex_core.metrics.families import DivergenceMetric


class FaithfulnessRunnerUp(DivergenceMetric):
    """Divergence of the runner-up's map."""

    name = "faithfulness_runner_up"
    title = "Divergence of the runner-up's map"
    better = ""
    about = "The same divergence of the relevance map of the class with the black box's second highest score."
    place = 4
    part = "divergence_runner_up"
    chance_of = "faithfulness"
    chance_name = "the runner-up class's map"
