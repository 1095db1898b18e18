"""The pages' figures as small SVG: the same lines, bands and marks, without the library that draws them in a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from app.report.markup import Markup, joined, tag

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 38, 40
DASHES = {"dash": "7 5", "dot": "2 4"}
TICKS = 5


@dataclass(frozen=True)
class Chart:
    """A figure as SVG.

    Attributes:
        svg: the picture.
        places: x and y in it of each point of the trace that is followed.
    """

    svg: Markup
    places: list[tuple[float, float]]


class _Axes:
    """From values to places in the picture."""

    def __init__(self, x: Sequence[float], y: Sequence[float]) -> None:
        self.x, self.y = x, y

    def place(self, x: float, y: float) -> tuple[float, float]:
        across, up = ((value - low) / (high - low) for value, (low, high) in ((x, self.x), (y, self.y)))
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )

    def places(self, xs: Any, ys: Any) -> list[tuple[float, float]]:
        return [self.place(float(x), float(y)) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]


def chart(figure: go.Figure, about: str, followed: str) -> Chart:
    """A figure of lines, bands and marks whose axes have ranges.

    Args:
        figure: one of `app.figures`.
        about: what it shows, for those who do not see it.
        followed: the name of a trace, whose points have a mark that can be moved.
    """
    layout = figure.layout
    axes = _Axes(layout.xaxis.range, layout.yaxis.range)
    drawn, keys, places = [], [], list[tuple[float, float]]()
    for trace in figure.data:
        points = axes.places(trace.x, trace.y)
        drawn += _trace(trace, points)
        if trace.name == followed:
            places = points
        if trace.showlegend is not False and trace.name:
            keys.append(_key(trace))
    for shape, note in zip(layout.shapes, layout.annotations, strict=True):
        (x, _), colour = axes.place(shape.x0, axes.y[0]), shape.line.color
        drawn.append(_line([(x, TOP), (x, HEIGHT - BOTTOM)], colour, DASHES[shape.line.dash], 1.5))
        middle = min(max(x, LEFT + 30), WIDTH - 35)
        drawn.append(_text(middle, TOP - 6, note.text, anchor="middle"))
    mark = tag("circle", cx=-50, cy=-50, r=7, class_="mark") if places else None
    return Chart(
        tag(
            "figure",
            tag(
                "svg",
                tag("title", about),
                _grid(axes, layout.xaxis, layout.yaxis),
                drawn,
                mark,
                viewBox=f"0 0 {WIDTH} {HEIGHT}",
                role="img",
            ),
            tag("figcaption", keys),
        ),
        places,
    )


def _trace(trace: Any, points: list[tuple[float, float]]) -> list[Markup]:
    if trace.fill == "toself":
        corners = " ".join(f"{x},{y}" for x, y in points)
        return [tag("polygon", points=corners, fill=trace.fillcolor, fill_opacity=str(trace.opacity))]
    dash = DASHES.get(trace.line.dash or "")
    drawn = [_line(points, trace.line.color, dash, 2)]
    if "markers" in trace.mode:
        drawn += [tag("circle", cx=str(x), cy=str(y), r=3, fill=trace.line.color) for x, y in points]
    return drawn


def _line(points: list[tuple[float, float]], colour: str, dash: str | None, width: float) -> Markup:
    return tag(
        "polyline",
        points=" ".join(f"{x},{y}" for x, y in points),
        fill="none",
        stroke=colour,
        stroke_width=str(width),
        stroke_dasharray=dash,
    )


def _key(trace: Any) -> Markup:
    """A trace in the legend: its name after a piece of it."""
    if trace.fill == "toself":
        piece = tag("rect", x=0, y=1, width=22, height=10, fill=trace.fillcolor, fill_opacity=str(trace.opacity))
    else:
        piece = _line([(0, 6), (22, 6)], trace.line.color, DASHES.get(trace.line.dash or ""), 2)
    picture = tag("svg", piece, viewBox="0 0 22 12", width=22, height=12, aria_hidden="true")
    return tag("span", picture, " ", str(trace.name), class_="key")


def _grid(axes: _Axes, across: Any, up: Any) -> Markup:
    lines, step = [], across.dtick or 1
    for x in np.arange(math.ceil(axes.x[0]), axes.x[1], step).tolist():
        if x >= 1:
            place, _ = axes.place(x, axes.y[0])
            lines.append(_text(place, HEIGHT - BOTTOM + 16, f"{x:g}", anchor="middle"))
    for y in ticks(*axes.y):
        _, place = axes.place(axes.x[0], y)
        lines.append(tag("path", d=f"M{LEFT} {place}H{WIDTH - RIGHT}", class_="grid"))
        lines.append(_text(LEFT - 6, place + 4, f"{y:g}", anchor="end"))
    lines.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across.title.text, anchor="middle"))
    lines.append(_text(2, 12, up.title.text))
    return joined(lines)


def _text(x: float, y: float, text: str, anchor: str = "start") -> Markup:
    return tag("text", text, x=str(round(x, 1)), y=str(round(y, 1)), text_anchor=anchor)


def ticks(low: float, high: float) -> list[float]:
    """About `TICKS` round numbers within a range."""
    rough = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
