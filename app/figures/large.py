"""What each number of prototypes per class gives, over all images of a sharded embedding."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.figures.axis import axis_range
from app.figures.palette import BLACK_BOX, CHOSEN, KMEX, OUTLINE


def over_k_figure(
    values: np.ndarray, k: int, axis: str, beside: dict[str, float] | None = None, percent: bool = True
) -> go.Figure:
    """A measure against the number of prototypes per class.

    Args:
        values: (S,) for 1 to S; shares where `percent`.
        k: the number that is marked.
        axis: the title of the vertical axis.
        beside: levels to compare with, by name.
        percent: whether shares are shown, in per cent.
    """
    scale, unit = (100, "%") if percent else (1, "")
    ks, levels = np.arange(1, len(values) + 1), {name: scale * level for name, level in (beside or {}).items()}
    figure = go.Figure()
    for (name, level), dash in zip(levels.items(), ("dash", "dot"), strict=False):
        figure.add_trace(
            go.Scatter(
                x=[ks[0], ks[-1]],
                y=[level, level],
                mode="lines",
                name=name,
                line={"color": BLACK_BOX, "dash": dash},
                hovertemplate=f"{name}: %{{y:.2f}}{unit}<extra></extra>",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=ks,
            y=scale * values,
            mode="lines+markers",
            name="KMEx",
            line={"color": KMEX},
            cliponaxis=False,
            hovertemplate=f"%{{x}} per class: %{{y:.2f}}{unit}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[k],
            y=[scale * values[k - 1]],
            mode="markers+text",
            text=[f"{scale * values[k - 1]:.1f}{unit}"],
            textposition="top center",
            showlegend=False,
            cliponaxis=False,
            marker={"size": 14, "symbol": "diamond", "color": CHOSEN, "line": {"width": 1.5, "color": OUTLINE}},
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(title="Prototypes per class", range=[0.5, len(ks) + 0.5], dtick=max(1, len(ks) // 10))
    shown = np.concatenate([scale * values, list(levels.values())])
    figure.update_yaxes(title=axis, range=axis_range(shown, (0, scale if percent else np.inf), 4 if percent else 0.0))
    figure.update_layout(height=300, margin={"l": 0, "r": 10, "t": 30, "b": 90}, showlegend=bool(levels))
    return figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.3, "yanchor": "top"})
