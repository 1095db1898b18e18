"""Metrics over the number of prototypes per class, with the chosen number marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from app.figures.band import band
from app.figures.curves import CURVES, course, range_of
from app.figures.palette import BLACK_BOX, CHOSEN, KMEX, OUTLINE
from kmex_core.prototypes.sweep import Sweep


def sweep_figure(sweeps: Sequence[Sweep], chosen: int, suggested: int | None, name: str) -> go.Figure:
    """One of `CURVES` against the number of prototypes per class: mean over seeds, its band, and its chance level.

    Args:
        sweeps: of different seeds, at least one.
        chosen: the number to mark; `SUGGESTED` for none.
        suggested: another number to mark, if there is one.
        name: a key of `CURVES`.
    """
    curve, first = CURVES[name], sweeps[0]
    unit, swept = "%" if curve.kind.unit == "share" else "", course(sweeps, curve)
    ks, mean, low, high = np.arange(1, first.reach + 1), swept.mean, swept.low, swept.high
    figure, shown = go.Figure(), [low, high]
    if name == "accuracy_kmex" and first.accuracy_black_box is not None:
        black_box = np.full(2, curve.scale * first.accuracy_black_box)
        shown.append(black_box)
        figure.add_trace(
            go.Scatter(
                x=[ks[0], ks[-1]],
                y=black_box,
                mode="lines",
                name="Black box",
                line={"color": BLACK_BOX, "dash": "dash"},
                hovertemplate="black box: %{y:.2f}%<extra></extra>",
            )
        )
    if swept.chance is not None:
        shown.append(swept.chance)
        figure.add_trace(
            band(ks, swept.chance[:, 0], swept.chance[:, 1], BLACK_BOX, 0.3, name="Random images (95% of draws)")
        )
    if name == "effective":
        shown.append(first.effective_equidistant)
        figure.add_trace(
            go.Scatter(
                x=ks,
                y=first.effective_equidistant,
                mode="lines",
                name="Equidistant groups",
                line={"color": BLACK_BOX, "dash": "dot"},
                hovertemplate="%{x} equidistant groups: %{y:.2f}<extra></extra>",
            )
        )
    figure.add_trace(band(ks, low, high, KMEX, 0.25, name="KMEx, interval", showlegend=False))
    figure.add_trace(
        go.Scatter(
            x=ks,
            y=mean,
            customdata=np.stack([low, high], 1),
            mode="lines+markers",
            name="KMEx",
            line={"color": KMEX},
            cliponaxis=False,
            hovertemplate=f"%{{x}} per class: %{{y:.2f}}{unit} (%{{customdata[0]:.2f}} to %{{customdata[1]:.2f}})"
            "<extra></extra>",
        )
    )
    if chosen > 0:
        value = mean[chosen - 1]
        figure.add_trace(
            go.Scatter(
                x=[chosen],
                y=[value],
                mode="markers+text",
                name="Chosen number",
                showlegend=False,
                text=[f"{value:.1f}{unit}" if unit else f"{value:.2f}"],
                textposition="top center",
                cliponaxis=False,
                marker={"size": 14, "symbol": "diamond", "color": CHOSEN, "line": {"width": 1.5, "color": OUTLINE}},
                hoverinfo="skip",
            )
        )
    if suggested is not None:
        figure.add_vline(
            suggested, line={"color": CHOSEN, "dash": "dot"}, annotation={"text": "suggested", "yanchor": "bottom"}
        )
    figure.update_xaxes(title="Prototypes per class", range=[0.3, len(ks) + 0.7], dtick=max(1, len(ks) // 10))
    most = ks[-1] if name == "effective" else np.inf
    figure.update_yaxes(title=curve.axis, range=range_of(curve, shown, most))
    figure.update_layout(height=340, margin={"l": 0, "r": 10, "t": 36, "b": 100}, showlegend=True)
    return figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.28, "yanchor": "top"})
