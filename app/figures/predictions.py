"""What both models predict: the black box's probabilities and the KMEx similarities that decide, class by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

BLACK_BOX = "#7a7a7a"
KMEX = "#2f7fbf"


def prediction_table(
    class_names: Sequence[str],
    black_box: np.ndarray,
    kmex: np.ndarray,
    similarity: np.ndarray,
    prototype_classes: np.ndarray,
) -> pd.DataFrame:
    """One row per class, most similar first.

    Args:
        class_names: C names.
        black_box, kmex: (C,) probabilities.
        similarity: (K,) to each prototype.
        prototype_classes: (K,) their classes.

    Returns:
        Columns `class`, `black_box_probability`, `kmex_probability` (fractions), `kmex_similarity` (of the class's most
        similar prototype).
    """
    best = np.full(len(class_names), -np.inf)
    np.maximum.at(best, prototype_classes, similarity)
    table = pd.DataFrame(
        {
            "class": list(class_names),
            "black_box_probability": black_box,
            "kmex_similarity": best,
            "kmex_probability": kmex,
        }
    )
    return table.sort_values("kmex_similarity", ascending=False, kind="stable", ignore_index=True)


def shown_rows(table: pd.DataFrame, most: int, always: Sequence[str]) -> pd.DataFrame:
    """The first `most` rows, and those of the classes in `always`."""
    return table[(table.index < most) | table["class"].isin(list(always))]


def prediction_figure(table: pd.DataFrame, true_class: str | None) -> go.Figure:
    """Two panels of bars, from rows of `prediction_table`; the true class is marked with a tick."""
    labels = [f"{name} ✓" if name == true_class else name for name in table["class"]]
    probability, similarity = table["black_box_probability"] * 100, table["kmex_similarity"]
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    figure.add_bar(
        col=1,
        row=1,
        y=labels,
        x=probability,
        orientation="h",
        text=[f"{value:.1f} %" for value in probability],
        textposition="outside",
        cliponaxis=False,
        marker_color=BLACK_BOX,
        hovertemplate="%{y}: probability %{x:.2f} %<extra>black box</extra>",
    )
    figure.add_bar(
        col=2,
        row=1,
        y=labels,
        x=similarity,
        orientation="h",
        text=[f"{value:.3f} ({share:.1%})" for value, share in zip(similarity, table["kmex_probability"], strict=True)],
        textposition="outside",
        cliponaxis=False,
        marker_color=KMEX,
        hovertemplate="%{y}: similarity %{x:.4f}<extra>KMEx</extra>",
    )
    figure.update_xaxes(col=1, title="Black box: probability (%)", range=[0, 125], tickvals=[0, 25, 50, 75, 100])
    figure.update_xaxes(
        col=2, title="KMEx: similarity to the nearest prototype", range=[0, max(1e-9, 1.45 * float(similarity.max()))]
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_yaxes(col=1, title="Class (✓ true)" if true_class else "Class")
    figure.update_layout(
        height=80 + 26 * len(table), margin={"l": 0, "r": 10, "t": 10, "b": 0}, showlegend=False, bargap=0.35
    )
    return figure
