"""Average increase."""

from __future__ import annotations

from kmex_core.metrics.families import RemovalMetric


class AverageIncrease(RemovalMetric):
    """Average increase."""

    name = "average_increase"
    title = "Average increase"
    better = "higher"
    about = (
        "How often the similarity grows when the less relevant half of the pixels is removed (AI), over the "
        "prototypes of an image's class, then over the images."
    )
    place = 8
    part, part_black_box = "increase", "increase_black_box"
