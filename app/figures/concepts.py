"""The concept map of an image: the nearest prototype of each patch, and the patches' attribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from kmex_core.base.plain_text import charts
from kmex_core.data.colours import class_colours
from kmex_core.prototypes.types import ConceptMap

HEIGHT = 330
NUMBERED = 16  # patches per side up to which the numbers of their prototypes fit
IN_LEGEND = 16  # prototypes
OPACITY = 0.7


def concept_figure(concept_map: ConceptMap, class_names: Sequence[str], picture: str) -> go.Figure:
    """The nearest prototype of each patch, over the image: by colour, number, and on hovering by class.

    Args:
        concept_map: of the image.
        class_names: C names.
        picture: the image, as an address.
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
    return _over(figure, picture, ranks.shape)


def attribution_figure(concept_map: ConceptMap, picture: str) -> go.Figure:
    """The similarity of each patch to the nearest prototype of the predicted class, over the image.

    Args:
        concept_map: of the image.
        picture: the image, as an address.
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
    return _over(figure, picture, concept_map.attribution.shape)


def _over(figure: go.Figure, picture: str, grid: tuple[int, ...]) -> go.Figure:
    """The figure over the image, which it covers exactly."""
    rows, columns = grid
    figure.add_layout_image(
        source=picture,
        xref="x",
        yref="y",
        x=-0.5,
        y=-0.5,
        sizex=columns,
        sizey=rows,
        sizing="stretch",
        layer="below",
    )
    figure.update_xaxes(visible=False, range=[-0.5, columns - 0.5], constrain="domain")
    figure.update_yaxes(
        visible=False, range=[rows - 0.5, -0.5], scaleanchor="x", scaleratio=columns / rows, constrain="domain"
    )
    return figure.update_layout(height=HEIGHT, margin={"l": 0, "r": 0, "t": 10, "b": 0})
