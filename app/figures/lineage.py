"""How the prototypes of a class descend from one another as their number grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.figures.palette import CHOSEN, KMEX

ROW = 84  # pixels
SIDE = 0.8  # of a row, of a picture


@dataclass(frozen=True)
class Node:
    """A prototype.

    Attributes:
        step: prototypes of the class.
        number: which of them it is.
        parent: the number of the one before that most of its images belonged to; −1 for none.
        share: of the class's training images, 0…1.
        picture: its exemplar, as an address.
        about: what it is, in words.
    """

    step: int
    number: int
    parent: int
    share: float
    picture: str
    about: str


def lineage_figure(nodes: Sequence[Node], chosen: int) -> go.Figure:
    """The prototypes of a class in a row for each number of them, joined to those that they come from.

    Args:
        nodes: in the order of their step, from 1.
        chosen: the number whose row is marked; none for `SUGGESTED`.
    """
    steps = max(node.step for node in nodes)
    place: dict[tuple[int, int], float] = {}
    for step in range(1, steps + 1):
        row = [node for node in nodes if node.step == step]
        # below their parents, so that lines hardly cross
        row.sort(key=lambda node: (place.get((node.step - 1, node.parent), 0.0), node.number))
        for index, node in enumerate(row):
            place[step, node.number] = (index + 0.5) * steps / len(row)
    figure = go.Figure()
    for node in nodes:
        if (node.step - 1, node.parent) in place:
            figure.add_trace(
                go.Scatter(
                    x=[place[node.step - 1, node.parent], place[node.step, node.number]],
                    y=[node.step - 1, node.step],
                    mode="lines",
                    line={"color": KMEX, "width": 1 + 10 * node.share},
                    opacity=0.6,
                    hoverinfo="skip",
                )
            )
    for node in nodes:
        figure.add_layout_image(
            source=node.picture,
            x=place[node.step, node.number],
            y=node.step,
            xref="x",
            yref="y",
            sizex=SIDE,
            sizey=SIDE,
            xanchor="center",
            yanchor="middle",
        )
    figure.add_trace(
        go.Scatter(
            x=[place[node.step, node.number] for node in nodes],
            y=[node.step for node in nodes],
            mode="markers",
            marker={"size": ROW / 2, "opacity": 0},
            text=[node.about for node in nodes],
            hovertemplate="%{text}<extra></extra>",
        )
    )
    if 1 <= chosen <= steps:
        figure.add_hrect(chosen - 0.5, chosen + 0.5, line={"width": 0}, fillcolor=CHOSEN, opacity=0.2, layer="below")
    figure.update_xaxes(visible=False, range=[0, steps])
    figure.update_yaxes(title="Prototypes of the class", range=[steps + 0.5, 0.5], dtick=1, showgrid=False)
    return figure.update_layout(height=ROW * steps + 20, margin={"l": 0, "r": 0, "t": 10, "b": 10}, showlegend=False)
