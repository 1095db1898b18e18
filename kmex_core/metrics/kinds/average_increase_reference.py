"""Average increase as published."""

from __future__ import annotations

from kmex_core.metrics.families import RemovalMetric


class AverageIncreaseReference(RemovalMetric):
    """Average increase as published."""

    name = "average_increase_reference"
    title = "Average increase as published"
    better = "higher"
    about = (
        "The increase of the similarity of the paper's released code, which takes the distance instead of its "
        "square; by their own similarity for built-in prototypes. Only this one is comparable with the "
        "paper's Table 4."
    )
    place = 10
    part, part_black_box = "increase_reference", "increase_black_box"
    reference_of = "average_increase"
    table = 4
