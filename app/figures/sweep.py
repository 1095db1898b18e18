"""Metrics over the number of prototypes per class, with the chosen number marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.figures.axis import axis_range
from app.figures.band import band
from app.figures.palette import BLACK_BOX, CHOSEN, KMEX, OUTLINE
from kmex_core.analysis.tables.prototypes import sweep_table
from kmex_core.metrics.catalogue import METRICS, Metric
from kmex_core.prototypes.types import Summary


@dataclass(frozen=True)
class Curve:
    """A curve: its metric, its axis, and the smallest difference worth a whole axis."""

    metric: str
    axis: str
    least: float

    @property
    def kind(self) -> Metric:
        """What the metric is called and means."""
        return METRICS[self.metric]


CURVES = {  # by the name in `Summary`
    "accuracy_kmex": Curve("accuracy", "Test images (%)", 4),
    "agreement": Curve("agreement", "Test images (%)", 4),
    "ghosting": Curve("ghosting", "Prototypes (%)", 10),
    "effective": Curve("effective", "Effective number (prototypes)", 0.5),
}


def sweep_figure(summaries: Mapping[int, Summary], chosen: int, ks: Sequence[int], name: str) -> go.Figure:
    """One of `CURVES` against the number of prototypes per class.

    Args:
        summaries: by k, one at least, some of `ks`.
        chosen: the k to mark.
        ks: all that will be there, so that the axis does not jump while they come.
        name: a key of `CURVES`.
    """
    curve, table = CURVES[name], sweep_table(summaries)
    scale, unit = (100, " %") if curve.kind.unit == "share" else (1, "")
    values = table[name].to_numpy(float) * scale
    shown = [values]
    figure = go.Figure()
    if name == "accuracy_kmex":
        black_box = table["accuracy_black_box"].to_numpy(float)[:1] * scale
        shown.append(black_box)
        figure.add_trace(
            go.Scatter(
                x=[ks[0], ks[-1]],
                y=np.repeat(black_box, 2),
                mode="lines",
                name="Black box",
                line={"color": BLACK_BOX, "dash": "dash"},
                hovertemplate="black box: %{y:.2f} %<extra></extra>",
            )
        )
    if name == "effective":
        beside = _beside(table)
        shown += [np.asarray(trace.y, dtype=float) for trace in beside]
        figure.add_traces(beside)
    figure.add_trace(
        go.Scatter(
            x=table["k"],
            y=values,
            mode="lines+markers",
            name="KMEx",
            line={"color": KMEX},
            cliponaxis=False,
            hovertemplate=f"%{{x}} per class: %{{y:.2f}}{unit}<extra></extra>",
        )
    )
    at_chosen = (table["k"] == chosen).to_numpy()
    figure.add_trace(
        go.Scatter(
            x=table["k"][at_chosen],
            y=values[at_chosen],
            mode="markers+text",
            name="Chosen number",
            showlegend=False,
            text=[f"{value:.1f}{unit}" if unit else f"{value:.2f}" for value in values[at_chosen]],
            textposition="top center",
            cliponaxis=False,
            marker={"size": 14, "symbol": "diamond", "color": CHOSEN, "line": {"width": 1.5, "color": OUTLINE}},
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(title="Prototypes per class", range=[ks[0] - 0.7, ks[-1] + 0.7], dtick=max(1, len(ks) // 10))
    low, high = curve.kind.range
    limits = (low * scale, min(high, ks[-1] if name == "effective" else np.inf) * scale)
    figure.update_yaxes(title=curve.axis, range=axis_range(np.concatenate(shown), limits, curve.least))
    figure.update_layout(height=270, margin={"l": 0, "r": 10, "t": 28, "b": 0}, showlegend=name == "effective")
    return figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})


def _beside(table: pd.DataFrame) -> list[go.Scatter]:
    """What to compare the effective number with: the band of random images, and equidistant groups."""
    low, high = table["effective_random_low"], table["effective_random_high"]
    random_images = band(table["k"], low, high, BLACK_BOX, 0.3, name="Random images (95 % of draws)")
    groups = go.Scatter(
        x=table["k"],
        y=table["effective_equidistant"],
        mode="lines",
        name="Equidistant groups",
        line={"color": BLACK_BOX, "dash": "dot"},
        hovertemplate="%{x} equidistant groups: %{y:.2f}<extra></extra>",
    )
    return [random_images, groups]
