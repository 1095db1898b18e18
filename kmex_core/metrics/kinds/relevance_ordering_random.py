"""Random ordering."""

from __future__ import annotations

from kmex_core.metrics.families import OrderingMetric


class RelevanceOrderingRandom(OrderingMetric):
    """Random ordering."""

    name = "relevance_ordering_random"
    title = "Random ordering"
    better = ""
    about = "The same area with pixels added in random order: the baseline for relevance ordering."
    place = 12
    part, part_black_box = "curve_random", "curve_black_box_random"
    chance_of = "relevance_ordering"
    chance_name = "a random order of pixels"
    of_both = True
