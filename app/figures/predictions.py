"""Predictions class by class: probabilities of the black box and similarities to prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.figures.palette import BLACK_BOX, KMEX
from kmex_core.base.plain_text import chart


def shown_rows(table: pd.DataFrame, most: int, always: Sequence[str]) -> pd.DataFrame:
    """The first `most` rows, and those of the classes in `always`."""
    return table[(table.index < most) | table["class"].isin(list(always))]


def probability_figure(table: pd.DataFrame, true_class: str | None) -> go.Figure:
    """The black box's probability of each class; the true class has a tick.

    Args:
        table: rows of `analysis.tables.prototypes.prediction_table`.
        true_class: its name, None when unknown.
    """
    percent = table["black_box_probability"] * 100
    texts = [f"{value:.1f} %" for value in percent]
    return _bars(table, true_class, percent, texts, BLACK_BOX, "Probability (%)", [0, 100], 60)


def similarity_figure(table: pd.DataFrame, true_class: str | None) -> go.Figure:
    """The similarity to each class's most similar prototype, with the class probability in brackets."""
    similarity, share = table["similarity"], table["probability"]
    texts = [
        "no prototype" if np.isnan(value) else f"{value:.3f} ({p:.1%})"
        for value, p in zip(similarity, share, strict=True)
    ]
    shown = [min(0.0, 1.5 * float(similarity.min())), max(1e-9, float(similarity.max()))]
    return _bars(table, true_class, similarity, texts, KMEX, "Similarity to the nearest prototype", shown, 110)


def _bars(
    table: pd.DataFrame,
    true_class: str | None,
    values: pd.Series[float],
    texts: list[str],
    colour: str,
    title: str,
    shown: list[float],
    room: int,
) -> go.Figure:
    """Bars along an axis from `shown[0]` to `shown[1]`, with `room` pixels for the texts behind the longest."""
    labels = [f"{chart(name)} ✓" if name == true_class else chart(name) for name in table["class"]]
    figure = go.Figure(
        go.Bar(
            y=labels,
            x=values,
            orientation="h",
            text=texts,
            textposition="outside",
            cliponaxis=False,
            marker_color=colour,
            hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        )
    )
    figure.update_xaxes(title=title, range=shown)
    figure.update_yaxes(title="Class (✓ true)" if true_class else "Class", autorange="reversed", type="category")
    figure.update_layout(
        height=80 + 26 * len(table), margin={"l": 0, "r": room, "t": 10, "b": 0}, showlegend=False, bargap=0.35
    )
    return figure
