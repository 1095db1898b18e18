"""Attributes: coverage by prototypes, over numbers of prototypes and for one of them; accuracy per group."""

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
from app.figures.palette import BLACK_BOX, CHOSEN, KMEX
from kmex_core.analysis.coverage import Coverage
from kmex_core.analysis.tables.attributes import CHANCE
from kmex_core.base.plain_text import chart, charts
from kmex_core.data.colours import class_colours

MARGIN = {"l": 0, "r": 10, "t": 10, "b": 0}
PLOT, AXIS, LEGEND_ROW = 200, 55, 30  # heights in pixels
FEW = 5
MANY = 60
MOST_COLUMNS = 120
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
    and, for those with a chance level, the mean and the middle 95 % of draws of random training images in grey.

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


def coverage_figure(coverage: Coverage, order: np.ndarray, classes: Sequence[str], picked: str) -> go.Figure:
    """Attributes by prototypes: a filled square where the prototype's picture has the attribute, else a dot.

    More than `MOST_COLUMNS` prototypes are counted by class instead.

    Args:
        coverage: what is covered.
        order: (A,) the attributes from top to bottom.
        classes: K names of the prototypes' classes.
        picked: an attribute to mark.
    """
    count, total = coverage.has.shape
    names, classes = [chart(attribute_label(coverage, attribute)) for attribute in order], charts(classes)
    draw = _by_class if count > MOST_COLUMNS else _by_prototype
    figure = draw(coverage, order, names, classes)
    if picked in coverage.names:
        row = int(np.flatnonzero(order == coverage.names.index(picked))[0])
        figure.add_hrect(y0=row - 0.5, y1=row + 0.5, fillcolor=CHOSEN, opacity=0.22, line_width=0)
    figure.update_yaxes(
        title="Attribute (share of the training images)",
        range=[total - 0.4, -0.6],
        tickmode="array",
        tickvals=np.arange(total),
        ticktext=names,
        zeroline=False,
        showgrid=False,
    )
    return figure.update_layout(height=90 + 17 * total, margin=MARGIN, showlegend=False, hovermode="closest")


def _by_prototype(coverage: Coverage, order: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> go.Figure:
    count = len(coverage.has)
    colours = dict(zip(dict.fromkeys(classes), class_colours(len(set(classes))), strict=False))
    figure = go.Figure()
    rows, columns = np.nonzero(~coverage.has[:, order].T)
    figure.add_trace(_cells(coverage, order, names, rows, columns, classes, "does not have it", "circle", 3, BLACK_BOX))
    rows, columns = np.nonzero(coverage.has[:, order].T)
    marks = [colours[classes[p]] for p in columns.tolist()]
    figure.add_trace(_cells(coverage, order, names, rows, columns, classes, "has it", "square", 11, marks))
    for p in range(1, count):
        if classes[p] != classes[p - 1]:
            figure.add_vline(x=p - 0.5, line={"color": BLACK_BOX, "width": 1})
    return figure.update_xaxes(title="Prototype (number)", range=[-0.6, count - 0.4], zeroline=False, showgrid=False)


def _by_class(coverage: Coverage, order: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> go.Figure:
    of = np.array(list(dict.fromkeys(classes)), dtype=object)
    member = np.array(classes, dtype=object)[None] == of[:, None]
    counts = (member.astype(int) @ coverage.has[:, order].astype(int)).T
    figure = go.Figure(
        go.Heatmap(
            z=np.where(counts > 0, counts, np.nan),
            x=of,
            y=np.arange(len(order)),
            colorscale="Blues",
            zmin=0,
            text=np.repeat(np.array(names, dtype=object)[:, None], len(of), 1),
            colorbar={"title": {"text": "Prototypes"}, "thickness": 12},
            hovertemplate="%{z} prototypes of %{x} have it: %{text}<extra></extra>",
        )
    )
    return figure.update_xaxes(title="Class", type="category", showticklabels=len(of) <= MANY, showgrid=False)


def _cells(
    coverage: Coverage,
    order: np.ndarray,
    names: Sequence[str],
    rows: np.ndarray,
    columns: np.ndarray,
    classes: Sequence[str],
    words: str,
    symbol: str,
    size: int,
    colour: str | list[str],
) -> go.Scatter:
    told = [
        [coverage.names[order[row]], names[row], classes[p]]
        for row, p in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return go.Scatter(
        x=columns,
        y=rows,
        mode="markers",
        marker={"symbol": symbol, "size": size, "color": colour},
        customdata=told,
        hovertemplate=f"prototype %{{x}} of %{{customdata[2]}} {words}: %{{customdata[1]}}<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )


def attribute_label(coverage: Coverage, attribute: int) -> str:
    """An attribute's name, how frequent it is, and a mark when it is missed."""
    mark = "" if coverage.captured[attribute] else "✕ "
    return f"{mark}{coverage.names[attribute].replace('_', ' ')} ({coverage.frequency[attribute]:.1%})"


def correlation_figure(values: np.ndarray, names: Sequence[str], title: str) -> go.Figure:
    """A matrix of correlations, or of their differences, −1 to 1 (differences beyond that are cut off).

    Args:
        values: (A, A).
        names: A.
        title: of the colour bar.
    """
    plain = [chart(name.replace("_", " ")) for name in names]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=plain,
            y=plain,
            zmin=-1,
            zmax=1,
            colorscale="RdBu",
            reversescale=True,
            colorbar={
                "title": {"text": title, "side": "top"},
                "orientation": "h",
                "thickness": 10,
                "y": 1.02,
                "yanchor": "bottom",
                "len": 0.9,
            },
            hovertemplate="%{y} and %{x}: %{z:+.2f}<extra></extra>",
        )
    )
    few = len(names) <= MANY
    figure.update_xaxes(title="Attribute", tickangle=-90, tickfont={"size": 9}, showticklabels=few, dtick=1)
    figure.update_yaxes(title="Attribute", autorange="reversed", tickfont={"size": 9}, showticklabels=few, dtick=1)
    return figure.update_layout(height=470, margin={**MARGIN, "t": 50})


def accuracy_figure(table: pd.DataFrame, title: str, overall: float) -> go.Figure:
    """The accuracy of groups of test images with 95 % intervals, the first on top.

    Args:
        table: see `analysis.tables.attributes.accuracy_table`; some rows of it.
        title: what predicts beside the black box.
        overall: accuracy on all test images, 0…1.
    """
    figure = go.Figure()
    names = [
        f"{chart(name.replace('_', ' '))} ({images:,})"
        for name, images in zip(table["group"], table["images"], strict=True)
    ]
    sides = [(title, "accuracy", "low", "high", KMEX, "circle", -0.14)]
    if "accuracy_black_box" in table:
        sides.append(
            ("Black box", "accuracy_black_box", "low_black_box", "high_black_box", BLACK_BOX, "square-open", 0.14)
        )
    for name, value, low, high, colour, symbol, shift in sides:
        figure.add_trace(
            go.Scatter(
                x=table[value] * 100,
                y=np.arange(len(table)) + shift,
                mode="markers",
                name=name,
                marker={"color": colour, "symbol": symbol, "size": 9},
                cliponaxis=False,
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": (table[high] - table[value]) * 100,
                    "arrayminus": (table[value] - table[low]) * 100,
                    "color": colour,
                    "thickness": 1.5,
                },
                customdata=np.stack([table[low] * 100, table[high] * 100], 1),
                text=names,
                hovertemplate=f"%{{text}}<br>{name}: %{{x:.1f}} % correct (%{{customdata[0]:.1f}} to "
                "%{customdata[1]:.1f} %)<extra></extra>",
            )
        )
    figure.add_vline(x=overall * 100, line={"color": CHOSEN, "dash": "dot", "width": 2})
    figure.update_xaxes(title="Accuracy (%)", range=[0, 100])
    figure.update_yaxes(
        title="Group (test images)",
        tickmode="array",
        tickvals=np.arange(len(table)),
        ticktext=names,
        range=[len(table) - 0.4, -0.6],
    )
    return figure.update_layout(
        height=110 + 30 * len(table),
        margin={**MARGIN, "r": 18},
        legend={"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right", "yanchor": "bottom"},
    )
