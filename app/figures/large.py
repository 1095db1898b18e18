"""What each number of prototypes per class gives, over all images of a sharded embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go

from app.figures.axis import axis_range
from app.figures.band import band
from app.figures.palette import BLACK_BOX, KMEX


@dataclass(frozen=True, eq=False)
class Course:
    """A measure for S numbers of prototypes per class.

    Attributes:
        ks: (S,) the numbers.
        values: (S,) shares where `percent`.
        axis: the title of the vertical axis.
        beside: levels, or (S,) curves, to compare with, by name.
        chance: (S, 2) the ends of a band; None for none.
        percent: whether shares are shown, in per cent.
    """

    ks: np.ndarray
    values: np.ndarray
    axis: str
    beside: Mapping[str, float | np.ndarray] = field(default_factory=dict)
    chance: np.ndarray | None = None
    percent: bool = True


def over_k_figure(course: Course) -> go.Figure:
    """A measure against the number of prototypes per class."""
    scale, unit = (100, "%") if course.percent else (1, "")
    ks, values = course.ks, scale * course.values
    beside = {name: np.broadcast_to(scale * np.asarray(level), ks.shape) for name, level in course.beside.items()}
    figure, shown = go.Figure(), [values, *beside.values()]
    if course.chance is not None:
        low, high = scale * course.chance.T
        shown += [low, high]
        figure.add_trace(band(ks, low, high, BLACK_BOX, 0.3, name="Random images (95% of draws)"))
    for (name, level), dash in zip(beside.items(), ("dash", "dot"), strict=False):
        hover = f"{name}: %{{y:.2f}}{unit}<extra></extra>"
        line = {"color": BLACK_BOX, "dash": dash}
        figure.add_trace(go.Scatter(x=ks, y=level, mode="lines", name=name, line=line, hovertemplate=hover))
    hover = f"%{{x}} per class: %{{y:.2f}}{unit}<extra></extra>"
    figure.add_trace(
        go.Scatter(
            x=ks,
            y=values,
            mode="lines+markers",
            name="KMEx",
            line={"color": KMEX},
            cliponaxis=False,
            hovertemplate=hover,
        )
    )
    figure.update_xaxes(title="Prototypes per class", range=[ks[0] - 0.6, ks[-1] + 0.6])
    limits, least = ((0.0, 100.0), 4.0) if course.percent else ((0.0, np.inf), 0.5)
    figure.update_yaxes(title=course.axis, range=axis_range(np.concatenate(shown), limits, least))
    figure.update_layout(height=320, margin={"l": 0, "r": 10, "t": 30, "b": 90}, showlegend=len(figure.data) > 1)
    return figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.28, "yanchor": "top"})
