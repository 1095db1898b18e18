"""Figure 5 as an SVG file: attributes captured by number of prototypes per class, beside chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from kmex_core.analysis import svg
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.reproduction.types import CurveRow

WIDTH, LEFT, LABELS, HEIGHT, AROUND = 780, 70, 190, 230, 92  # pixels
ON_KMEX = "+KMEx"
_MARKS = (".band { fill: #808080; fill-opacity: 0.22 }",)
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SHAPES = (
    tuple((math.cos(math.tau * at / 16), math.sin(math.tau * at / 16)) for at in range(16)),
    ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    ((0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)),
    ((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
)
Place = Callable[[float], float]  # a value to pixels


def usable(rows: Sequence[CurveRow]) -> list[CurveRow]:
    """The rows that can be drawn."""
    return [row for row in rows if row.k > 0 and row.of > 0 and math.isfinite(row.captured)]


def panels(rows: Sequence[CurveRow]) -> list[tuple[str, list[CurveRow]]]:
    """Built-in prototypes and those of KMEx apart, as in the paper, each with a heading."""
    kmex = [row for row in rows if row.model.endswith(ON_KMEX)]
    own = [row for row in rows if not row.model.endswith(ON_KMEX)]
    return [(heading, part) for heading, part in (("Built-in prototypes", own), ("KMEx", kmex)) if part]


def figure_5(rows: Sequence[CurveRow]) -> str:
    """A panel for built-in prototypes and one for KMEx, a curve for each model, and the band of chance.

    Args:
        rows: the points, at least one of them `usable`.
    """
    title = "Attributes captured by number of prototypes per class"
    parts = [svg.text(12, 22, title, strong=True)]
    drawn = panels(usable(rows))
    for at, (heading, part) in enumerate(drawn):
        parts += _panel(heading, part, 62 + at * (HEIGHT + AROUND))
    return svg.frame(title, WIDTH, 30 + len(drawn) * (HEIGHT + AROUND), parts, _MARKS)


def _panel(heading: str, rows: Sequence[CurveRow], top: float) -> list[str]:
    ks, most = sorted({row.k for row in rows}), max(max(row.of, row.captured) for row in rows)
    width = WIDTH - LEFT - LABELS
    span = math.log(ks[-1] / ks[0]) or 1.0

    def across(k: float) -> float:
        return LEFT + width * (math.log(k / ks[0]) / span if len(ks) > 1 else 0.5)

    def down(captured: float) -> float:
        return top + HEIGHT * (1 - min(max(captured, 0.0), most) / most)

    parts = [svg.text(12, top - 12, f"{heading}: attributes captured ↑", strong=True)]
    step = next((step for step in _STEPS if most / step <= 6), most)
    for tick in (step * number for number in range(int(most / step) + 1)):
        parts.append(svg.line(LEFT, down(tick), LEFT + width, down(tick), "line"))
        parts.append(svg.text(LEFT - 6, down(tick) + 4, f"{tick:g}", "end"))
    for k in ks:
        parts.append(svg.line(across(k), top, across(k), top + HEIGHT, "line"))
        parts.append(svg.text(across(k), top + HEIGHT + 17, f"{k}", "middle"))
    parts.append(svg.text(LEFT + width / 2, top + HEIGHT + 35, "prototypes per class", "middle"))
    band = [(k, min(lows), max(highs)) for k in ks if (lows := _ends(rows, k, 0)) and (highs := _ends(rows, k, 1))]
    if band:
        # along the upper ends, and back along the lower ones
        outline = [(across(k), down(high)) for k, _, high in band] + [
            (across(k), down(low)) for k, low, _ in band[::-1]
        ]
        parts.append(f'<polygon class="band" points="{_points(outline)}"/>')
        x, y = LEFT + width - 112, top + HEIGHT - 24  # low on the right, where no curve is
        parts.append(f'<rect class="band" x="{x:.1f}" y="{y:.1f}" width="18" height="12"/>')
        parts.append(svg.text(x + 24, y + 11, "chance, 95%"))
    return [*parts, *_curves(rows, across, down, LEFT + width)]


def _ends(rows: Sequence[CurveRow], k: int, end: int) -> list[float]:
    """The lower (0) or upper (1) ends of chance at a number of prototypes, as far as there are any."""
    ends = [(row.low, row.high)[end] for row in rows if row.k == k]
    return [value for value in ends if math.isfinite(value)]


def _curves(rows: Sequence[CurveRow], across: Place, down: Place, right: float) -> list[str]:
    """A curve for each model, which ends in its name."""
    models = list(dict.fromkeys(row.model for row in rows))
    points = {
        model: [
            (across(row.k), down(row.captured)) for row in sorted(rows, key=lambda row: row.k) if row.model == model
        ]
        for model in models
    }
    parts = []
    ends = svg.apart([points[model][-1][1] for model in models])
    for model, end in zip(models, ends, strict=True):
        method, places = _method(model), points[model]
        kind = f"c{method % svg.CURVES}"
        parts.append(f'<polyline class="{kind}" style="fill: none; stroke-width: 2" points="{_points(places)}"/>')
        parts.append(svg.line(places[-1][0] + 5, places[-1][1], right + 10, end, "line"))
        parts += [_mark(method, x, y) for x, y in (*places, (right + 16, end))]
        parts.append(svg.text(right + 24, end + 4, model))
    return parts


def _mark(method: int, x: float, y: float) -> str:
    """A circle, a square, a diamond or a triangle: colours alone do not tell the methods apart."""
    around = _SHAPES[method % len(_SHAPES)]
    places = [(x + 4.5 * across, y + 4.5 * down) for across, down in around]
    return f'<polygon class="c{method % svg.CURVES}" points="{_points(places)}"/>'


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _method(model: str) -> int:
    """The place of a method among the kinds of models, the same for a method and its KMEx."""
    kinds = list(MODEL_KINDS.values())
    return next((at for at, kind in enumerate(kinds) if model in kind.paper), len(kinds))
