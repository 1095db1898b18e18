"""The concept map of an image: the nearest prototype of each patch, and the patches' attribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from kmex_core.base.plain_text import charts
from kmex_core.data.colours import class_colours
from kmex_core.data.display import PALE
from kmex_core.data.seen import SeenPicture
from kmex_core.prototypes.types import ConceptMap

HEIGHT = 330
NUMBERED = 16  # patches per side up to which the numbers of their prototypes fit
IN_LEGEND = 16  # prototypes
OPACITY = 0.7
NOTHING = 1e-6  # patches: no part of an image is so narrow


def concept_figure(concept_map: ConceptMap, class_names: Sequence[str], picture: str, seen: SeenPicture) -> go.Figure:
    """The nearest prototype of each patch, over the image: by colour, number, and on hovering by class.

    Args:
        concept_map: of the image.
        class_names: C names.
        picture: the image as `seen` has it, as an address.
        seen: what the network sees of it.
    """
    names = charts(class_names)
    order = list(concept_map.shares)[::-1]  # the most frequent is last: on top of the legend, with the first colour
    rank = {p: row for row, p in enumerate(order)}
    ranks = np.vectorize(rank.__getitem__, otypes=[int])(concept_map.nearest)
    of_class = dict(zip(concept_map.nearest.flat, concept_map.classes.flat, strict=True))
    labels = np.array([f"{p} {names[of_class[p]]}" for p in order])
    few = max(ranks.shape) <= NUMBERED
    count = len(order)
    # each colour twice, at both ends of its step: a scale without transitions
    colours = class_colours(count)[::-1]
    steps = [(edge / count, colour) for row, colour in enumerate(colours) for edge in (row, row + 1)]
    figure = go.Figure(
        go.Heatmap(
            z=ranks,
            zmin=-0.5,
            zmax=count - 0.5,
            colorscale=steps,
            opacity=OPACITY,
            customdata=labels[ranks],
            text=concept_map.nearest if few else None,
            texttemplate="%{text}" if few else None,
            textfont={"size": 10},
            hovertemplate="Prototype %{customdata}<br>row %{y}, column %{x}<extra></extra>",
            showscale=count <= IN_LEGEND,
            colorbar={
                "tickvals": list(range(count)),
                "ticktext": list(labels),
                "thickness": 12,
                "title": {"text": "Prototype"},
            },
        )
    )
    return _over(figure, picture, seen, ranks.shape)


def attribution_figure(concept_map: ConceptMap, picture: str, seen: SeenPicture) -> go.Figure:
    """The similarity of each patch to the nearest prototype of the predicted class, over the image.

    Args:
        concept_map: of the image.
        picture: the image as `seen` has it, as an address.
        seen: what the network sees of it.
    """
    figure = go.Figure(
        go.Heatmap(
            z=concept_map.attribution,
            colorscale="Viridis",
            opacity=OPACITY,
            colorbar={"thickness": 12, "title": {"text": "Similarity"}},
            hovertemplate="%{z:.4g}<br>row %{y}, column %{x}<extra></extra>",
        )
    )
    return _over(figure, picture, seen, concept_map.attribution.shape)


def _over(figure: go.Figure, picture: str, seen: SeenPicture, grid: tuple[int, ...]) -> go.Figure:
    """The figure over the part of the image that the network sees; the rest is pale."""
    (rows, columns), (left, top, right, bottom) = grid, seen.box
    # the image in patches: its sides and its edges, of which the figure covers 0 to `columns` and 0 to `rows`
    wide, high = columns / (right - left), rows / (bottom - top)
    x, y = -0.5 - left * wide, -0.5 - top * high
    figure.add_layout_image(
        source=picture, xref="x", yref="y", x=x, y=y, sizex=wide, sizey=high, sizing="stretch", layer="below"
    )
    ends = (-0.5, -0.5, columns - 0.5, rows - 0.5)
    for x0, y0, x1, y1 in (
        (x, y, x + wide, ends[1]),
        (x, ends[3], x + wide, y + high),
        (x, ends[1], ends[0], ends[3]),
        (ends[2], ends[1], x + wide, ends[3]),
    ):
        if x1 - x0 > NOTHING and y1 - y0 > NOTHING:
            figure.add_shape(type="rect", x0=x0, y0=y0, x1=x1, y1=y1, fillcolor="white", opacity=PALE, line_width=0)
    height, width = seen.pixels.shape[:2]
    figure.update_xaxes(visible=False, range=[x, x + wide], constrain="domain")
    figure.update_yaxes(
        visible=False,
        range=[y + high, y],
        scaleanchor="x",
        scaleratio=(height / high) / (width / wide),
        constrain="domain",
    )
    return figure.update_layout(height=HEIGHT, margin={"l": 0, "r": 0, "t": 10, "b": 0})
