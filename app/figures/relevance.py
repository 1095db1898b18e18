"""What is left of a decision when the pixels on top of a relevance map are replaced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.axis import axis_range
from app.figures.palette import BLACK_BOX, CHOSEN, KMEX
from kmex_core.relevance.types import MapVerdict


def margin_figure(verdict: MapVerdict, shares: Sequence[float]) -> go.Figure:
    """The margin that is left, averaged over the replacements, against the share of replaced pixels.

    Args:
        verdict: of a map with a margin.
        shares: of the pixels, those of the verdict.
    """
    assert verdict.margin is not None
    figure = go.Figure()
    lines = (
        ("By the map", verdict.margin, KMEX, "solid", "circle"),
        ("Random order", verdict.random, BLACK_BOX, "dash", "square-open"),
        ("Brightest first", verdict.brightness, CHOSEN, "dot", "diamond-open"),
    )
    curves = [np.concatenate([[100.0], values.mean(0) * 100]) for _, values, *_ in lines]
    for (name, _, colour, dash, symbol), curve in zip(lines, curves, strict=True):
        figure.add_trace(
            go.Scatter(
                x=[0, *(share * 100 for share in shares)],
                y=curve,
                name=name,
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                marker={"symbol": symbol, "size": 7},
                hovertemplate=f"{name}<br>%{{x:.0f}} % replaced: %{{y:.0f}} % of the margin left<extra></extra>",
            )
        )
    figure.add_hline(y=0, line={"color": BLACK_BOX, "width": 1})
    figure.update_xaxes(title="Pixels replaced (%)")
    figure.update_yaxes(title="Margin left (%)", range=axis_range(np.concatenate([*curves, [0.0]]), (-np.inf, np.inf)))
    return figure.update_layout(
        height=230,
        margin={"l": 0, "r": 10, "t": 10, "b": 0},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
