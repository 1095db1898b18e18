"""A band between two curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike


def band(x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, opacity: float, **more: Any) -> go.Scatter:
    """The area between `low` and `high` (each (N,)) over `x` (N, in order); `more` are options of the trace."""
    left_to_right = np.asarray(x)
    return go.Scatter(
        x=np.concatenate([left_to_right, left_to_right[::-1]]),
        y=np.concatenate([np.asarray(high), np.asarray(low)[::-1]]),
        fill="toself",
        fillcolor=colour,
        opacity=opacity,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        **more,
    )
