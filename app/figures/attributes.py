"""Attributes: coverage by prototypes, over numbers of prototypes per class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.figures.axis import axis_range
from app.figures.band import band
from app.figures.evaluation import DASHES, SYMBOLS
from app.figures.palette import BLACK_BOX, CHOSEN
from kmex_core.analysis.tables.attributes import CHANCE
from kmex_core.base.plain_text import chart
from kmex_core.data.colours import class_colours

MARGIN = {"l": 0, "r": 10, "t": 10, "b": 0}
PLOT, AXIS, LEGEND_ROW = 200, 55, 30  # heights in pixels
FEW = 5
CHANCE_NAME = "Random training images"


@dataclass(frozen=True)
class Curve:
    """One of the three curves of the paper's Figure 5.

    Attributes:
        title: with the direction.
        axis: with the unit.
        about: its meaning.
        digits: after the point.
        most: the largest value there can be; the smallest is 0. None for the number of attributes.
    """

    title: str
    axis: str
    about: str
    digits: int
    most: float | None = math.inf


CURVES = {
    "captured": Curve(
        "Captured attributes ↑",
        "Attributes",
        "Number of attributes of at least one prototype's exemplar. Higher is better. Figure 5.b of the paper.",
        1,
        None,
    ),
    "error": Curve(
        "Error of correlations ↓",
        "Mean absolute error",
        "Mean absolute difference between the attributes' correlations among the prototypes' exemplars and among the "
        "training images, over all pairs (0 to 2). Lower is better. Figure 5.c of the paper.",
        3,
        2.0,
    ),
    "ghosted": Curve(
        "Ghost prototypes ↓",
        "Prototypes",
        "Number of ghosts: prototypes that are not the nearest of any training image of their class. Lower is better. "
        "Figure 5.a of the paper.",
        1,
    ),
}


def curves_figure(table: pd.DataFrame, what: str, chosen: int, ks: Sequence[int], total: int) -> go.Figure:
    """One of `CURVES` against the number of prototypes per class: a line and a band (± standard deviation) per model,
    and, for those with a chance level, the mean and the middle 95% of draws of random training images in grey.

    Args:
        table: see `analysis.tables.attributes.curves_table`.
        what: a key of `CURVES`.
        chosen: the number to mark.
        ks: all there will be, so that the axis does not jump while they come.
        total: how many attributes there are.
    """
    curve = CURVES[what]
    limits = (0.0, float(total) if curve.most is None else curve.most)
    values = [np.zeros(1), table[what].to_numpy(float)]
    figure = go.Figure()
    if what in CHANCE:
        values.append(_draw_chance(figure, table, what, curve.digits))
    names = list(dict.fromkeys(table["model"]))
    for index, (name, colour) in enumerate(zip(names, class_colours(max(1, len(names))), strict=False)):
        rows, name = table[table["model"] == name], chart(name)
        spread = rows[f"{what}_std"].fillna(0).to_numpy()
        if len(rows) > 1 and spread.any():
            low, high = ((rows[what] + side * spread).clip(*limits) for side in (-1, 1))
            values += [low, high]
            figure.add_trace(band(rows["k"], low, high, colour, 0.18, showlegend=False, legendgroup=name))
        spreads = [f" ± {value:.{curve.digits}f}" if value else "" for value in spread]
        figure.add_trace(
            go.Scatter(
                x=rows["k"],
                y=rows[what],
                name=name,
                legendgroup=name,
                customdata=np.array(spreads, dtype=object),
                mode="lines+markers",
                cliponaxis=False,
                line={"color": colour, "dash": DASHES[index % len(DASHES)], "width": 2},
                marker={"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 11 if len(rows) == 1 else 6},
                hovertemplate=f"{name}<br>%{{x}} per class: %{{y:.{curve.digits}f}}%{{customdata}}<extra></extra>",
            )
        )
    figure.add_vline(x=chosen, line={"color": CHOSEN, "dash": "dot", "width": 2})
    if what == "captured":
        figure.add_hline(y=total, line={"color": BLACK_BOX, "dash": "dash", "width": 1})
        values.append(np.array([float(total)]))
    figure.update_xaxes(title="Prototypes per class", range=[ks[0] - 0.7, ks[-1] + 0.7], dtick=max(1, len(ks) // 10))
    figure.update_yaxes(title=curve.axis, range=axis_range(np.concatenate(values), limits))
    if what == "ghosted" and table[what].max() < FEW:
        figure.update_yaxes(dtick=1)
    entries = len(names) + (what in CHANCE)
    below = AXIS + LEGEND_ROW * (entries if entries > 1 else 0)
    height = PLOT + below
    return figure.update_layout(
        height=height,
        margin=MARGIN | {"b": below},
        showlegend=entries > 1,
        legend={"orientation": "h", "x": 0, "yref": "container", "y": (below - AXIS) / height, "yanchor": "top"},
    )


def _draw_chance(figure: go.Figure, table: pd.DataFrame, what: str, digits: int) -> np.ndarray:
    """Draw the chance level of each number of prototypes per class, that of the first model with it; its limits."""
    rows = table.drop_duplicates("k").sort_values("k")
    low, high = (rows[f"{what}_chance_{end}"].to_numpy(float) for end in ("low", "high"))
    if len(rows) > 1:
        figure.add_trace(band(rows["k"], low, high, BLACK_BOX, 0.22, showlegend=False, legendgroup=CHANCE_NAME))
    figure.add_trace(
        go.Scatter(
            x=rows["k"],
            y=rows[f"{what}_chance"],
            error_y=None
            if len(rows) > 1
            else {
                "type": "data",
                "symmetric": False,
                "array": high - rows[f"{what}_chance"],
                "arrayminus": rows[f"{what}_chance"] - low,
            },
            name=CHANCE_NAME,
            legendgroup=CHANCE_NAME,
            customdata=np.stack([low, high], 1),
            mode="lines" if len(rows) > 1 else "markers",
            line={"color": BLACK_BOX, "dash": "dot", "width": 1.5},
            marker={"color": BLACK_BOX, "symbol": "line-ew-open", "size": 11},
            hovertemplate=f"{CHANCE_NAME}<br>%{{x}} per class: %{{y:.{digits}f}} (%{{customdata[0]:.{digits}f}} to "
            f"%{{customdata[1]:.{digits}f}})<extra></extra>",
        )
    )
    return np.concatenate([low, high])
