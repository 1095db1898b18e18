"""Relevance ordering as published."""

from __future__ import annotations

from kmex_core.metrics.families import OrderingMetric


class RelevanceOrderingReference(OrderingMetric):
    """Relevance ordering as published."""

    name = "relevance_ordering_reference"
    title = "Relevance ordering as published"
    better = "higher"
    about = (
        "The area for the probability of the paper, a softmax of the similarities to all prototypes, which nothing "
        "calibrates."
    )
    place = 13
    part = "curve_reference"
    reference_of = "relevance_ordering"
