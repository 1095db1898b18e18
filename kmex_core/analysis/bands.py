"""Intervals of curves over numbers of prototypes."""

from __future__ import annotations

import numpy as np

from kmex_core.metrics.accuracy import wilson_interval


def interval_over_seeds(values: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    """The 95% Wilson interval of a share of the test images, mean over seeds, widened to the lowest and highest seed.

    Args:
        values: (R, S) shares 0…1 for R seeds.
        images: that they are shares of.

    Returns:
        (S,) lower and (S,) upper ends.
    """
    low, high = wilson_interval(values.mean(0), images)
    return np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
