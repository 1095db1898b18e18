"""Axes that show every value there is and none that cannot be."""

from __future__ import annotations

import numpy as np

MARGIN = 0.08


def axis_range(values: np.ndarray, limits: tuple[float, float], least: float = 0.0) -> list[float]:
    """An axis range around `values` that stays within `limits` and does not blow up differences far below `least`.

    Args:
        values: what is drawn; what is not finite is not.
        limits: the smallest and largest value there can be, either of which may be infinite.
        least: how much the axis spans at least, if the limits leave room for it.
    """
    finite = values[np.isfinite(values)]
    shown = np.clip(finite if len(finite) else np.array([limits[0]]), *limits)
    low, high = float(shown.min()), float(shown.max())
    span = max(least, high - low, 1e-9)
    around = (span - (high - low)) / 2 + MARGIN * span
    low, high = low - around, high + around
    low, high = low + min(0.0, limits[1] - high), high + max(0.0, limits[0] - low)  # room that one side cannot use
    return [max(low, limits[0]), min(high, limits[1])]
