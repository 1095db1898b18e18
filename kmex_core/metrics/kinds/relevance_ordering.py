"""Relevance ordering."""

from __future__ import annotations

from kmex_core.metrics.families import OrderingMetric


class RelevanceOrdering(OrderingMetric):
    """Relevance ordering."""

    name = "relevance_ordering"
    title = "Relevance ordering"
    better = "higher"
    about = (
        "Area under the curve of the predicted class's probability as pixels are added, most relevant first (RO, 0 "
        "to 1). Compare with random ordering."
    )
    place = 11
    part, part_black_box = "curve", "curve_black_box"
    of_both = True
