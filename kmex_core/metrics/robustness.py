"""Robustness of relevance maps: similarities and predictions when pixels are removed (paper 4.1.2)."""

from __future__ import annotations

import numpy as np

LEAST = 0.5
ROUNDING = 1e-5


def average_drop(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """AD: the share of a score lost without the least relevant pixels, max(0, s − s') / s, 0…1, lower is better.

    Args:
        before: s, any shape.
        after: s', the same shape, of the images with only their most relevant pixels.

    Returns:
        The drop of each; NaN where s ≤ 0, since a share of it is meaningless.
    """
    before, after = before.astype(np.float64), after.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0, np.maximum(0, before - after) / before, np.nan)


def average_increase(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """AI: whether a score grows without the least relevant pixels, [s' > s], 0 or 1, higher is better.

    The increase must exceed `ROUNDING` of s: if the removed pixels equal their replacement, s' differs from s only by
    float32 rounding.

    Args:
        before, after: see `average_drop`.

    Returns:
        float64, the same shape.
    """
    before = before.astype(np.float64)
    return (after - before > ROUNDING * np.abs(before)).astype(np.float64)
