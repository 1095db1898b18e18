"""Average drop, random order."""

from __future__ import annotations

from kmex_core.metrics.families import RemovalMetric


class AverageDropRandom(RemovalMetric):
    """Average drop, random order."""

    name = "average_drop_random"
    title = "Average drop, random order"
    better = ""
    about = "The same drop when a random half of the pixels is removed."
    place = 6
    part, part_black_box = "drop_random", "drop_black_box_random"
    chance_of = "average_drop"
    chance_name = "a random order of pixels"
