"""Relevance ordering: the pixels shown at each step, and the area under the curve. Needs no torch (paper 4.1.2)."""

from __future__ import annotations

import numpy as np


def pixel_counts(pixels: int, steps: int) -> np.ndarray:
    """(steps + 1,) int64, the number of pixels shown after each step of relevance ordering, from 0 to all."""
    return np.round(np.linspace(0, pixels, steps + 1)).astype(np.int64)


def curve_area(curve: np.ndarray) -> np.ndarray:
    """RO: the area under the curve of a probability against the share of pixels, 0…1, higher is better.

    Args:
        curve: (…, steps + 1), at evenly spaced shares from 0 to 1.

    Returns:
        (…), by the trapezoid rule.
    """
    return np.asarray(np.trapezoid(curve, dx=1 / (curve.shape[-1] - 1), axis=-1))
