"""Figures of benchmarks as SVG files, readable on light and dark pages, in the dashboard's colours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from app.figures.palette import CHOSEN, GHOST, KMEX
from kmex_core.analysis import svg
from kmex_core.analysis.svg import CURVES, LINE, SIZE

WIDTH, LABELS, RIGHT, ROW = 780, 300, 80, 26
LETTERS = 40  # of a label in one line
_MARKS = (
    f".target {{ stroke: {CHOSEN}; stroke-width: 3 }}",
    f".slower {{ fill: {KMEX} }} .faster {{ fill: {GHOST} }} .same {{ fill: #8b8b8b }}",
)


@dataclass(frozen=True)
class Bar:
    """One line of a chart.

    Attributes:
        label: what it is of.
        value: its median, above 0.
        low, high: the ends of its spread, above 0.
        target: a limit that is drawn beside it, or None.
        kind: of a ratio: "slower", "faster", or "same" where no claim is made.
    """

    label: str
    value: float
    low: float
    high: float
    target: float | None = None
    kind: str = "same"


@dataclass(frozen=True)
class Curve:
    """Measured points, and the power law through them.

    Attributes:
        label: of the line.
        x, y: the points, above 0.
        factor, exponent: of the law y = factor · x^exponent.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    factor: float
    exponent: float


def ratios(title: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Bars from 1 to each ratio on a logarithmic axis, with their spread: to the right is slower than ours."""
    bars = [bar for _, group in groups for bar in group]
    drawing = _Chart(title, _ends([1.0, *(end for bar in bars for end in (bar.low, bar.high))]), "×")
    for name, group in groups:
        drawing.heading(name)
        for bar in group:
            drawing.bar(bar, 1.0, f"{times(bar.value)}×")
    return drawing.finished(1.0)


def values(title: str, bars: Sequence[Bar], unit: str) -> str:
    """A point for each value on a logarithmic axis, with its spread, and a mark at its target."""
    ends = _ends([end for bar in bars for end in (bar.low, bar.high, *([bar.target] if bar.target else []))])
    drawing = _Chart(title, ends, f" {unit}")
    for bar in bars:
        drawing.point(bar, f"{number(bar.value)} {unit}")
    return drawing.finished(None, any(bar.target for bar in bars))


def growth(title: str, panels: Sequence[tuple[str, str, Sequence[Curve]]]) -> str:
    """Panels with logarithmic axes: an axis title for each, and curves that end in their labels.

    Args:
        title: of the figure.
        panels: heading, name of the horizontal axis, and curves of each.
    """
    left, labels, height, around = 70, 250, 230, 84
    parts = [svg.text(12, 22, title, strong=True)]
    for at, (heading, axis, curves) in enumerate(panels):
        parts += _panel(heading, axis, curves, left, 68 + at * (height + around), WIDTH - left - labels, height)
    return svg.frame(title, WIDTH, 36 + len(panels) * (height + around), parts, _MARKS)


def number(value: float) -> str:
    """A number in at most four digits, with commas from 1,000 on."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return digits.replace("-", "−")


def times(ratio: float) -> str:
    """A ratio, with two decimals below 10: where it is near 1 they matter."""
    return f"{ratio:.2f}" if ratio < 10 else number(ratio)


def _ends(found: Sequence[float]) -> tuple[float, float]:
    low, high = min(found), max(found)
    return low / 1.15, high * 1.15


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 of each decade where few are in the range, else 1 of each."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2 else (1,)
    return [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]


class _Chart:
    """Rows from top to bottom over one logarithmic axis."""

    def __init__(self, title: str, ends: tuple[float, float], unit: str) -> None:
        self._title, (self._low, self._high), self._unit = title, ends, unit
        self._y, self._parts = 34.0, [svg.text(12, 22, title, strong=True)]
        self._top = self._y

    def _x(self, value: float) -> float:
        share = math.log(value / self._low) / math.log(self._high / self._low)
        return LABELS + share * (WIDTH - LABELS - RIGHT)

    def heading(self, words: str) -> None:
        for line in textwrap.wrap(words, 100):
            self._y += LINE + 4
            self._parts.append(svg.text(12, self._y, line, strong=True))
        self._y += 6

    def _row(self, label: str) -> float:
        lines = textwrap.wrap(label, LETTERS)
        height = max(ROW, LINE * len(lines) + 8)
        middle = self._y + height / 2
        first = middle - LINE * (len(lines) - 1) / 2 + SIZE / 2 - 2
        self._parts += [svg.text(LABELS - 8, first + LINE * at, line, "end") for at, line in enumerate(lines)]
        self._y += height
        return middle

    def _spread(self, bar: Bar, y: float) -> list[str]:
        low, high = self._x(bar.low), self._x(bar.high)
        ends = [svg.line(x, y - 5, x, y + 5, "spread") for x in (low, high)]
        return [svg.line(low, y, high, y, "spread"), *ends]

    def bar(self, bar: Bar, start: float, words: str) -> None:
        y, ends = self._row(bar.label), sorted((self._x(start), self._x(bar.value)))
        width = max(1.0, ends[1] - ends[0])
        self._parts.append(
            f'<rect class="{bar.kind}" x="{ends[0]:.1f}" y="{y - 8:.1f}" width="{width:.1f}" height="16"/>'
        )
        self._parts += [*self._spread(bar, y), svg.text(WIDTH - 12, y + SIZE / 2 - 2, words, "end")]

    def point(self, bar: Bar, words: str) -> None:
        y = self._row(bar.label)
        if bar.target:
            x = self._x(bar.target)
            self._parts.append(svg.line(x, y - 9, x, y + 9, "target"))
        self._parts += self._spread(bar, y)
        self._parts.append(f'<circle class="slower" cx="{self._x(bar.value):.1f}" cy="{y:.1f}" r="5"/>')
        self._parts.append(svg.text(WIDTH - 12, y + SIZE / 2 - 2, words, "end"))

    def finished(self, base: float | None, targets: bool = False) -> str:
        """The drawing with its axis, and what is on either side of `base` or what marks targets."""
        bottom = self._y + 6
        for tick in _ticks(self._low, self._high):
            x = self._x(tick)
            self._parts.insert(0, svg.line(x, self._top, x, bottom, "axis" if tick == base else "line"))
            self._parts.append(svg.text(x, bottom + 18, f"{number(tick)}{self._unit}", "middle"))
        if base is not None:
            x = self._x(base)
            self._parts.append(svg.text(x - 8, bottom + 40, "← faster than KMEx Explorer", "end"))
            self._parts.append(svg.text(x + 8, bottom + 40, "slower than KMEx Explorer →"))
        elif targets:
            self._parts.append(svg.line(LABELS, bottom + 28, LABELS, bottom + 46, "target"))
            self._parts.append(svg.text(LABELS + 10, bottom + 41, "target: at most"))
        height = bottom + (54 if base is not None or targets else 30)
        return svg.frame(self._title, WIDTH, height, self._parts, _MARKS)


def _panel(
    heading: str, axis: str, curves: Sequence[Curve], x0: float, y0: float, width: float, height: float
) -> list[str]:
    xs, ys = _ends([x for curve in curves for x in curve.x]), _ends([y for curve in curves for y in curve.y])

    def across(x: float) -> float:
        return x0 + width * math.log(x / xs[0]) / math.log(xs[1] / xs[0])

    def down(y: float) -> float:
        return y0 + height * (1 - math.log(y / ys[0]) / math.log(ys[1] / ys[0]))

    parts = [svg.text(12, y0 - 10, heading, strong=True)]
    for tick in _ticks(*xs):
        parts.append(svg.line(across(tick), y0, across(tick), y0 + height, "line"))
        parts.append(svg.text(across(tick), y0 + height + 17, number(tick), "middle"))
    parts.append(svg.text(x0 + width / 2, y0 + height + 35, axis, "middle"))
    for tick in _ticks(*ys):
        parts += [svg.line(x0, down(tick), x0 + width, down(tick), "line")]
        parts.append(svg.text(x0 - 6, down(tick) + 4, f"{number(tick)} s", "end"))
    ends = svg.apart([down(curve.y[-1]) for curve in curves])
    for at, (curve, end) in enumerate(zip(curves, ends, strict=True)):
        kind = f"c{at % CURVES}"
        drawn = [(x, curve.factor * x**curve.exponent) for x in (curve.x[0], curve.x[-1])]
        (xa, ya), (xb, yb) = ((across(x), down(y)) for x, y in drawn)
        parts.append(f'<line class="{kind}" stroke-width="2" x1="{xa:.1f}" y1="{ya:.1f}" x2="{xb:.1f}" y2="{yb:.1f}"/>')
        for x, y in zip(curve.x, curve.y, strict=True):
            parts.append(f'<circle class="{kind}" cx="{across(x):.1f}" cy="{down(y):.1f}" r="3.5"/>')
        parts.append(svg.line(across(curve.x[-1]) + 5, down(curve.y[-1]), x0 + width + 12, end, "line"))
        exponent = f"{curve.exponent:.2f}".replace("-", "−")
        parts.append(svg.text(x0 + width + 15, end + 4, f"{curve.label}: {exponent}"))
    return parts
