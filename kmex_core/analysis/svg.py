"""Drawings as SVG files, readable on light and dark pages without a library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from kmex_core.base.plain_text import writable
from kmex_core.data.colours import DARK, LIGHT, class_colours

SIZE, LINE = 13, 16  # pixels, of letters and from line to line
CURVES = 8  # colours of curves, the classes c0 to c7
_STYLE = """<style>
  .page { fill: %s } .strong { stroke: %s }
  text { fill: %s; font: %dpx system-ui, sans-serif } .strong { font-weight: 600; paint-order: stroke; stroke-width: 5 }
  .line { stroke: #808080; stroke-opacity: 0.35; fill: none } .axis { stroke: %s; stroke-width: 1.5 }
%s  .spread { stroke: %s; stroke-width: 1.5; fill: none }
  %s
  @media (prefers-color-scheme: dark) {
    .page { fill: %s } .strong { stroke: %s } text { fill: %s } .axis, .spread { stroke: %s }
  }
</style>"""


def frame(title: str, width: float, height: float, parts: Iterable[str], marks: Iterable[str] = ()) -> str:
    """A drawing with its title and styles: `strong`, `line`, `axis`, `spread`, and `c0` to `c7`, which are the colours
    of classes.

    Args:
        title: for those who do not see it.
        width, height: in pixels.
        parts: its elements, the lowest first.
        marks: further lines of styles.
    """
    # those of classes stand out from both pages
    curves = " ".join(f".c{at} {{ stroke: {c}; fill: {c} }}" for at, c in enumerate(class_colours(CURVES)))
    style = _STYLE % (
        LIGHT.page, LIGHT.page, LIGHT.ink, SIZE, LIGHT.ink, "".join(f"  {mark}\n" for mark in marks), LIGHT.ink, curves,
        DARK.page, DARK.page, DARK.ink, DARK.ink,
    )  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img">\n<title>{_escaped(title)}</title>\n{style}\n'
        f'<rect class="page" width="100%" height="100%" rx="6"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, end: str = "start", strong: bool = False) -> str:
    """Words that start or end at a place, or have their middle there (`end`: "start", "end", "middle")."""
    kind = ' class="strong"' if strong else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{end}"{kind}>{_escaped(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A line in one of the styles."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def apart(places: Sequence[float]) -> list[float]:
    """Places of labels, moved down where they would overlap the one above."""
    moved, last = list(places), -math.inf
    for at in sorted(range(len(places)), key=lambda each: places[each]):
        last = moved[at] = max(places[at], last + LINE)
    return moved


def _escaped(words: str) -> str:
    return escape(writable(words))
