"""Divergence of the runner-up's map."""

from __future__ import annotations

from kmex_core.metrics.metric import ANY, MAPS, Metric, Run, Value
from kmex_core.metrics.types import NotComputed


class FaithfulnessRunnerUp(Metric):
    """Divergence of the runner-up's map."""

    name = "faithfulness_runner_up"
    title = "Divergence of the runner-up's map"
    better = ""
    unit = "nats"
    about = "The same divergence of the relevance map of the class with the black box's second highest score."
    group, place = MAPS, 4
    chance_of = "faithfulness"
    chance_name = "the runner-up class's map"
    maps = True
    range = ANY

    def measure(self, run: Run) -> Value:
        """(N,) nats, image by image."""
        divergences = run.divergences
        return divergences if isinstance(divergences, NotComputed) else divergences.divergence_runner_up
