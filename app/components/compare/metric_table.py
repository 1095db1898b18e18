"""Models as rows, metrics as columns: a bar in each cell, chance beside it, and the best where it can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

import streamlit as st

from kmex_core.analysis.comparison import PAPER, Cell
from kmex_core.analysis.ranking import Best
from kmex_core.metrics.catalogue import METRICS, Metric


@dataclass(frozen=True)
class Line:
    """A row.

    Attributes:
        label: the model.
        cells: by metric.
        intervals: 95 % intervals, by metric.
        chance: by metric, what its value is beside, each with what it is called.
        href: where the label leads, "" for nowhere.
        note: what is shown instead of cells, "" for cells.
        shown_above: metrics whose chance levels the heading has.
    """

    label: str
    cells: Mapping[str, Cell]
    intervals: Mapping[str, tuple[float, float]]
    chance: Mapping[str, Sequence[tuple[str, float]]]
    href: str = ""
    note: str = ""
    shown_above: frozenset[str] = frozenset()


def show_metrics(about: str, names: Sequence[str], lines: Sequence[Line], best: Mapping[str, Best]) -> None:
    """Show models in rows and metrics in columns.

    Args:
        about: what the table shows, for those who do not see it.
        names: of the metrics.
        lines: the rows.
        best: by metric; none for those where it is not asked.
    """
    scales = {name: _scale(METRICS[name], name, lines) for name in names}
    common = {name: levels for name in names if (levels := _common(name, lines))}
    head = "".join(
        f'<th scope="col" title="{escape(METRICS[name].about)}">{_heading(METRICS[name], common.get(name, ()))}</th>'
        for name in names
    )
    lines = [replace(line, shown_above=frozenset(common)) for line in lines]
    body = "".join(_row(line, names, scales, best) for line in lines)
    foot = "".join(f"<td>{_verdict(best[name]) if name in best else ''}</td>" for name in names)
    footer = f'<tfoot><tr><th scope="row">Best</th>{foot}</tr></tfoot>' if best else ""
    st.html(
        f'<div class="kx-compare" role="region" aria-label="{escape(about)}" tabindex="0"><table>'
        f'<thead><tr><th scope="col">Model</th>{head}</tr></thead><tbody>{body}</tbody>{footer}</table></div>'
    )


def _common(name: str, lines: Sequence[Line]) -> Sequence[tuple[str, float]]:
    """The chance levels of a column, where they are the same in every row."""
    levels = [tuple(line.chance.get(name, ())) for line in lines if name in line.cells]
    return levels[0] if len(levels) > 1 and len(set(levels)) == 1 else ()


def _heading(kind: Metric, common: Sequence[tuple[str, float]]) -> str:
    direction = {"higher": "higher is better", "lower": "lower is better"}.get(kind.better, "")
    chance = "".join(f"<small>{escape(words)}: {kind.shown(value)}</small>" for words, value in common)
    words, _, last = kind.heading.rpartition(" ")  # the arrow is never alone in a line
    title = escape(f"{words}\u00a0{last}" if words and kind.arrow else kind.heading)
    return f"{title}<small>{direction}</small>{chance}"


def _row(line: Line, names: Sequence[str], scales: Mapping[str, tuple[float, float]], best: Mapping[str, Best]) -> str:
    label = escape(line.label)
    title = f'<a href="{escape(line.href)}" title="Open in Explore">{label}</a>' if line.href else label
    if line.note:
        return f'<tr><th scope="row">{title}</th><td colspan="{len(names)}">{escape(line.note)}</td></tr>'
    cells = "".join(_cell(line, name, scales[name], best.get(name)) for name in names)
    return f'<tr><th scope="row">{title}</th>{cells}</tr>'


def _cell(line: Line, name: str, scale: tuple[float, float], best: Best | None) -> str:
    kind, cell = METRICS[name], line.cells.get(name)
    if cell is None:
        return '<td class="kx-none">–</td>'
    if cell.mean is None:
        return f'<td class="kx-none" title="{escape(cell.note)}">not computed</td>'
    is_best = best is not None and best.is_clear and best.label == line.label
    parts = [f"<span>{kind.shown(cell.mean)}</span>"]
    if is_best:
        parts[0] += " <strong>best</strong>"
    if cell.over:
        spread = kind.shown(cell.spreads[cell.over])
        parts.append(f"<small>± {spread}{'' if cell.over == PAPER else f' {escape(cell.over)}'}</small>")
    chance = line.chance.get(name, ())
    parts.append(_bar(cell.mean, line.intervals.get(name), [value for _, value in chance], scale))
    if name not in line.shown_above:
        parts += [f"<small>{escape(words)} {kind.shown(value)}</small>" for words, value in chance[:1]]
    if cell.better_than_chance is False:
        parts.append("<small>no better than chance</small>")
    marked = ' class="kx-best"' if is_best else ""
    return f"<td{marked}{_title(kind, line, name, chance)}>{''.join(parts)}</td>"


def _title(kind: Metric, line: Line, name: str, chance: Sequence[tuple[str, float]]) -> str:
    parts = []
    if name in line.intervals:
        low, high = line.intervals[name]
        parts.append("exact" if low == high else f"95 % interval {kind.shown(low)} to {kind.shown(high)}")
    parts += [f"{words}: {kind.shown(value)}" for words, value in chance]
    about = escape("; ".join(parts))
    return f' title="{about}"' if parts else ""


def _bar(mean: float, interval: tuple[float, float] | None, chance: Sequence[float], scale: tuple[float, float]) -> str:
    """A bar from the smallest possible value on, with its interval as a line and chance levels as marks."""
    low, high = scale

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, (value - low) / (high - low) * 100)), 2) if high > low else 0.0

    marks = "".join(f'<b style="left:{place(value)}%"></b>' for value in chance)
    line = ""
    if interval is not None and interval[0] < interval[1]:
        left, right = map(place, interval)
        line = f'<u style="left:{left}%;width:{round(right - left, 2)}%"></u>'
    return f'<span class="kx-bar" aria-hidden="true"><i style="width:{place(mean)}%"></i>{line}{marks}</span>'


def _scale(kind: Metric, name: str, lines: Sequence[Line]) -> tuple[float, float]:
    """Where bars of a column begin and end: shares of which more is better at 0 and 1, others at the largest value."""
    low = kind.range[0]
    if kind.unit == "share" and kind.better == "higher":
        return low, 1.0
    values = [low]
    for line in lines:
        cell = line.cells.get(name)
        values += [cell.mean] if cell is not None and cell.mean is not None else []
        values += [*line.intervals.get(name, ()), *(value for _, value in line.chance.get(name, ()))]
    return low, max(values)


def _verdict(best: Best) -> str:
    if not best.rival:
        return "<small>one value</small>"
    if best.separable is None:
        about = f"{best.label} has the best value, then {best.rival}; their intervals are unknown"
        return f'<small title="{escape(about)}">no interval</small>'
    if not best.separable:
        about = f"The intervals of {best.label} and {best.rival} overlap"
        return f'<small title="{escape(about)}">not separable</small>'
    if best.beats_chance is False:
        about = f"{best.label} has the best value, which is no better than chance"
        return f'<small title="{escape(about)}">no better than chance</small>'
    return f"<small>{escape(best.label)}</small>"
