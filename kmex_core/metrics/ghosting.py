"""Transparency: prototypes that no training image of their class ever activates (paper 4.2.2)."""

from __future__ import annotations

import numpy as np


def ghosting(own_counts: np.ndarray) -> float:
    """D_tsp: the share of prototypes that no training image of their own class activates, 0…1, lower is better.

    D_tsp = 1 − #{k : ∃ i, y_i = class(k), argmax_l s(z_i, p_l) = k} / K. The paper's Eq. 1 as printed is constant
    (its counts sum to N, so it is always 1 − 1/K); this is what its text and Table 5 mean.

    Args:
        own_counts: (K,) images of the own class that activate each prototype, K ≥ 1.

    Raises:
        ValueError: when there are no prototypes.
    """
    if own_counts.ndim != 1 or len(own_counts) == 0:
        raise ValueError(f"Expected a vector of counts, one per prototype, got shape {own_counts.shape}.")
    return float(np.mean(own_counts == 0))
