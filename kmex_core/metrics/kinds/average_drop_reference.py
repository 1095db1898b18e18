"""Average drop as published."""

from __future__ import annotations

from kmex_core.metrics.families import RemovalMetric


class AverageDropReference(RemovalMetric):
    """Average drop as published."""

    name = "average_drop_reference"
    title = "Average drop as published"
    better = "lower"
    about = (
        "The drop of the similarity of the paper's released code, which takes the distance instead of its "
        "square; by their own similarity for built-in prototypes. Only this one is comparable with the "
        "paper's Table 4."
    )
    place = 7
    part, part_black_box = "drop_reference", "drop_black_box"
    reference_of = "average_drop"
    table = 4
