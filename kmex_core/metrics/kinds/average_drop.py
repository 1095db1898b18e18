"""Average drop."""

from __future__ import annotations

from kmex_core.metrics.families import RemovalMetric


class AverageDrop(RemovalMetric):
    """Average drop."""

    name = "average_drop"
    title = "Average drop"
    better = "lower"
    about = (
        "Share of the similarity lost when the less relevant half of the pixels is removed (AD), averaged "
        "over the prototypes of an image's class, then over the images. For the black box: share of the "
        "probability of its prediction."
    )
    place = 5
    part, part_black_box = "drop", "drop_black_box"
