"""Evaluations: the confusion matrix, prototypes' shares, relevance ordering, distributions, the radar of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures.axis import axis_range
from app.figures.palette import BLACK_BOX, GHOST, KMEX, TRANSPARENT
from kmex_core.analysis.tables.evaluation import AXES
from kmex_core.base.plain_text import chart, charts
from kmex_core.data.colours import LIGHT, class_colours
from kmex_core.metrics.catalogue import SHARE
from kmex_core.prototypes.types import Summary

MARGIN = {"l": 0, "r": 10, "t": 28, "b": 0}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")


# ---- predictions ----------------------------------------------------------------------------------------------------


def confusion_figure(table: pd.DataFrame) -> go.Figure:
    """Confusion matrix: shares of each class's test images, and their number where it fits.

    Args:
        table: see `analysis.tables.evaluation.confusion_table`.
    """
    counts = table.to_numpy()
    share = counts / np.maximum(1, counts.sum(1, keepdims=True)) * 100
    wrong = np.where(np.eye(len(counts), dtype=bool), np.nan, share)  # what is right would outshine all mistakes
    few = len(counts) <= 12
    predicted, true = charts(table.columns), charts(table.index)
    figure = go.Figure(
        go.Heatmap(
            z=wrong,
            x=predicted,
            y=true,
            customdata=np.stack([counts, share], -1),
            text=np.where(counts > 0, counts.astype(str), "") if few else None,
            texttemplate="%{text}" if few else None,
            colorscale="Oranges",
            zmin=0,
            zmax=float(np.nanmax(wrong, initial=1.0)),  # without mistakes nothing is coloured
            colorbar={"title": {"text": "Share of<br>the class (%)"}, "thickness": 12},
            hovertemplate="%{y} predicted as %{x}: %{customdata[0]:,} images (%{customdata[1]:.1f}%)<extra></extra>",
        )
    )
    if few:
        right = np.diag(counts)
        figure.add_trace(go.Scatter(x=predicted, y=true, mode="text", text=right, hoverinfo="skip", showlegend=False))
    figure.update_xaxes(title="Predicted class", type="category")
    figure.update_yaxes(title="True class", type="category", autorange="reversed")
    return figure.update_layout(height=max(320, min(900, 100 + 26 * len(counts))), margin={**MARGIN, "t": 10})


# ---- ghosts ---------------------------------------------------------------------------------------------------------


def shares_figure(table: pd.DataFrame) -> go.Figure:
    """A bar per class, a piece per prototype, the largest first; a diamond after it for each ghost.

    Args:
        table: see `analysis.tables.evaluation.shares_table`.
    """
    figure = go.Figure()
    table = table.assign(**{"class": charts(table["class"])})
    names = list(dict.fromkeys(table["class"]))
    rank = table.groupby("class").cumcount().to_numpy()
    for place_in_class in range(int(rank.max()) + 1):
        rows = table[(rank == place_in_class) & ~table["ghost"].to_numpy()]
        figure.add_trace(
            go.Bar(
                y=rows["class"],
                x=rows["share"] * 100,
                orientation="h",
                marker={
                    "color": KMEX,
                    "opacity": 0.9 if place_in_class % 2 == 0 else 0.6,
                    "line": {"color": LIGHT.page, "width": 1},
                },
                text=rows["prototype"],
                textposition="inside",
                textangle=0,
                insidetextanchor="middle",
                customdata=rows[["prototype", "count"]],
                hovertemplate="%{y}: prototype %{customdata[0]}<br>%{x:.1f}% of the class "
                "(%{customdata[1]:,} training images)<extra></extra>",
            )
        )
    ghosts = table[table["ghost"]]
    if len(ghosts):
        reach = table.groupby("class")["share"].sum() * 100
        place = reach[ghosts["class"]].to_numpy() + 2.5 * (ghosts.groupby("class").cumcount().to_numpy() + 1)
        figure.add_trace(
            go.Scatter(
                y=ghosts["class"],
                x=place,
                mode="markers",
                marker={"symbol": "diamond", "size": 11, "color": GHOST, "line": {"color": LIGHT.page, "width": 1}},
                customdata=ghosts["prototype"],
                hovertemplate="%{y}: prototype %{customdata} is a ghost<extra></extra>",
                cliponaxis=False,
            )
        )
    figure.update_xaxes(
        title="Share of the class's training images (%)", rangemode="tozero", tickvals=[0, 20, 40, 60, 80, 100]
    )  # ghosts stand to the right, where no share is
    figure.update_yaxes(
        title="Class", type="category", categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.4]
    )
    return figure.update_layout(
        barmode="stack",
        height=90 + 26 * len(names),
        margin={**MARGIN, "t": 10},
        showlegend=False,
        bargap=0.25,
        uniformtext={"minsize": 9, "mode": "hide"},
    )


def weights_figure(table: pd.DataFrame) -> go.Figure:
    """A prototype's weight for each class, as bars around 0.

    Args:
        table: columns `class` and `weight` (no unit).
    """
    colours = np.where(table["weight"] < 0, BLACK_BOX, KMEX)
    figure = go.Figure(
        go.Bar(
            x=table["weight"],
            y=charts(table["class"]),
            orientation="h",
            marker_color=colours,
            text=[f"{weight:+.2f}" for weight in table["weight"]],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:+.3f}<extra></extra>",
        )
    )
    most = max(1e-9, float(table["weight"].abs().max())) * 1.35
    figure.update_xaxes(title="Weight (no unit)", range=[-most, most])
    figure.update_yaxes(title="Class", type="category", autorange="reversed")
    return figure.update_layout(height=90 + 24 * len(table), margin={**MARGIN, "t": 10}, showlegend=False)


# ---- diversity ------------------------------------------------------------------------------------------------------


def effective_figure(summary: Summary, per_class: float) -> go.Figure:
    """The effective number of prototypes on a line from 1 to all, with the band of random training images.

    Args:
        summary: with an effective number.
        per_class: prototypes per class, on average over the classes, more than 1.
    """
    low, high = summary.effective_random_low, summary.effective_random_high
    figure = go.Figure(
        go.Scatter(
            x=[low, high, high, low, low],
            y=[-0.5, -0.5, 0.5, 0.5, -0.5],
            fill="toself",
            fillcolor=BLACK_BOX,
            opacity=0.45,
            line={"width": 0},
            mode="lines",
            name="Random images (95% of draws)",
            hoverinfo="skip",
        )
    )
    for value, name, marker in (
        (summary.effective_equidistant, "Equidistant groups", {"symbol": "line-ns-open", "color": BLACK_BOX}),
        (summary.effective, "Prototypes", {"symbol": "diamond", "color": KMEX}),
    ):
        figure.add_trace(
            go.Scatter(
                x=[value],
                y=[0],
                mode="markers+text" if name == "Prototypes" else "markers",
                name=name,
                text=[f"{value:.2f}"],
                textposition="top center",
                marker={**marker, "size": 16, "line": {"width": 2}},
                cliponaxis=False,
                hovertemplate=f"{name}: %{{x:.2f}}<extra></extra>",
            )
        )
    figure.update_xaxes(title="Effective number (prototypes per class)", range=[1, max(per_class, 1.01)])
    figure.update_yaxes(visible=False, range=[-1, 1.6])
    return figure.update_layout(
        height=190, margin={**MARGIN, "l": 10, "t": 0}, legend={"orientation": "h", "x": 0, "y": -0.7, "yanchor": "top"}
    )


# ---- maps -----------------------------------------------------------------------------------------------------------


def ordering_figure(table: pd.DataFrame, titles: Sequence[str] = ("KMEx", "Black box")) -> go.Figure:
    """Relevance ordering of KMEx and of its black box, each with random order dashed.

    Args:
        table: see `analysis.tables.evaluation.ordering_table`.
        titles: of the one and of the other, which is left out when there is no title for it.
    """
    figure = make_subplots(1, len(titles), subplot_titles=tuple(titles), horizontal_spacing=0.12)
    for column, (name, colour) in enumerate((("kmex", KMEX), ("black_box", BLACK_BOX))[: len(titles)], start=1):
        for suffix, words, dash in (("", "most relevant first", "solid"), ("_random", "random order", "dash")):
            figure.add_trace(
                go.Scatter(
                    x=table["pixels"] * 100,
                    y=table[name + suffix],
                    mode="lines",
                    name=words,
                    legendgroup=words,
                    showlegend=column == len(titles),
                    line={"color": colour, "dash": dash, "width": 2.5},
                    hovertemplate=f"{words}: %{{y:.3f}} with %{{x:.0f}}% of the pixels<extra></extra>",
                ),
                1,
                column,
            )
    figure.update_xaxes(title="Pixels in the image (%)", range=[0, 100])
    figure.update_traces(cliponaxis=False)
    figure.update_yaxes(title="Probability of the predicted class")
    for column, name in enumerate(("kmex", "black_box")[: len(titles)], start=1):
        values = table[[name, f"{name}_random"]].to_numpy(float).ravel()
        figure.update_yaxes(range=[0, 1] if column == 2 else axis_range(values, SHARE), row=1, col=column)
    return figure.update_layout(
        height=340, margin=MARGIN, legend={"orientation": "h", "y": -0.25, "x": 1, "xanchor": "right"}
    )


def distribution_figure(values: Mapping[str, np.ndarray], title: str, most: float | None, bins: int = 20) -> go.Figure:
    """How a score is spread over images: a row of bars for each model.

    Args:
        values: by what has it, one or two; NaN is left out.
        title: of the axis, with the unit.
        most: the largest value there can be; None for the largest there is.
        bins: how many.
    """
    measured = {name: scores[~np.isnan(scores)] for name, scores in values.items()}
    largest = max((float(scores.max()) for scores in measured.values() if len(scores)), default=1.0)
    top = largest if most is None else most
    edges = np.linspace(0, top or 1.0, bins + 1)
    figure = go.Figure()
    for (name, scores), (colour, pattern) in zip(measured.items(), ((KMEX, ""), (BLACK_BOX, "/")), strict=False):
        counts = np.histogram(scores, edges)[0]
        figure.add_trace(
            go.Bar(
                x=(edges[:-1] + edges[1:]) / 2,
                y=counts / max(1, len(scores)) * 100,
                name=name,
                marker={"color": colour, "pattern": {"shape": pattern, "fillmode": "overlay"}},
                customdata=np.stack([edges[:-1], edges[1:], counts], 1),
                hovertemplate=f"{name}, %{{customdata[0]:.3g}} to %{{customdata[1]:.3g}}: %{{customdata[2]:,}} images"
                "<extra></extra>",
            )
        )
    figure.update_xaxes(title=title, range=[0, edges[-1]])
    heights = np.concatenate([np.zeros(1), *(np.asarray(trace.y, dtype=float) for trace in figure.data)])
    figure.update_yaxes(title="Images (%)", range=axis_range(heights, (0, 100)))
    return figure.update_layout(
        height=270,
        margin={**MARGIN, "t": 10},
        bargap=0.08,
        showlegend=len(measured) > 1,
        legend={"orientation": "h", "y": 1.18, "x": 1, "xanchor": "right"},
    )


# ---- models side by side --------------------------------------------------------------------------------------------


def radar_figure(table: pd.DataFrame) -> go.Figure:
    """Models on the table's axes from 0 in the middle to 1 outside, larger is better everywhere.

    Args:
        table: see `analysis.tables.evaluation.radar_table`.
    """
    figure = go.Figure()
    titles = [axis.title for axis in AXES if axis.title in set(table["axis"])]
    names = list(dict.fromkeys(table["model"]))
    for index, (name, colour) in enumerate(zip(names, class_colours(max(1, len(names))), strict=False)):
        places = table[table["model"] == name].set_index("axis").reindex(titles)
        name = chart(name)
        whole = pd.concat([places, places.iloc[:1]])
        figure.add_trace(
            go.Scatterpolar(
                theta=whole.index,
                r=whole["place"],
                name=name,
                mode="lines+markers",
                line={"color": colour, "dash": DASHES[index % len(DASHES)], "width": 2.5},
                marker={"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 9},
                customdata=whole["value"],
                hovertemplate=f"{name}<br>%{{theta}}: %{{r:.2f}} (value %{{customdata:.3f}})<extra></extra>",
            )
        )
    return figure.update_layout(
        height=460,
        margin={"l": 70, "r": 70, "t": 40, "b": 30},
        polar={
            "bgcolor": TRANSPARENT,
            "radialaxis": {"range": [0, 1], "tickvals": [0.25, 0.5, 0.75, 1], "angle": 90, "tickangle": 90},
            "angularaxis": {"direction": "clockwise", "rotation": 90},
        },
        legend={"orientation": "h", "y": -0.12, "x": 0.5, "xanchor": "center"},
        showlegend=True,
    )
