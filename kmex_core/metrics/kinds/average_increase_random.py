"""Average increase, random order."""

from __future__ import annotations

from kmex_core.metrics.families import RemovalMetric


class AverageIncreaseRandom(RemovalMetric):
    """Average increase, random order."""

    name = "average_increase_random"
    title = "Average increase, random order"
    better = ""
    about = "How often the similarity grows when a random half of the pixels is removed."
    place = 9
    part, part_black_box = "increase_random", "increase_black_box_random"
    chance_of = "average_increase"
    chance_name = "a random order of pixels"
