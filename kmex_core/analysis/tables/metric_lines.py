"""An evaluation as lines of text: each metric beside the black box and its chance levels, for reports and cards."""

from __future__ import annotations

from dataclasses import dataclass

from kmex_core.analysis.comparison import rows, shown
from kmex_core.metrics import chance_accuracy
from kmex_core.metrics.catalogue import METRICS, Metric
from kmex_core.metrics.types import Evaluation, Measured


@dataclass(frozen=True)
class MetricLine:
    """A metric of an evaluation in words.

    Attributes:
        metric: what it is.
        value: its value, with what its ± is over; "not computed" where it cannot be.
        interval: its 95% Wilson interval, "" where it has none.
        black_box: the black box's value with its interval, "" where there is none.
        chance: its chance levels, with their names.
        note: why it is not computed, or what it was compared with.
    """

    metric: Metric
    value: str
    interval: str
    black_box: str
    chance: tuple[str, ...]
    note: str


def metric_lines(evaluation: Evaluation, classes: int) -> list[MetricLine]:
    """A line for each metric that was asked for, in the catalogue's order; chance levels are beside their metrics.

    Args:
        evaluation: of a model.
        classes: how many it knows.
    """
    (*_, row) = rows([evaluation], with_published=False)
    beside = next((other for other in rows([evaluation], with_published=False) if other.k == 0), None)
    lines = []
    for name, cell in row.cells.items():
        kind = METRICS[name]
        if kind.chance_of:
            continue
        black_box = evaluation.metrics.get(kind.black_box)
        other = "" if beside is None or name not in beside.cells else shown(name, beside.cells[name])
        chance = [
            f"{METRICS[level].chance_name}: {shown(level, row.cells[level])}"
            for level in METRICS
            if METRICS[level].chance_of == name and level in row.cells and row.cells[level].mean is not None
        ]
        if name == "accuracy":
            chance.append(
                f"the most frequent class every time: {100 * chance_accuracy(evaluation.labels, classes):.1f}%"
            )
        lines.append(
            MetricLine(
                kind,
                shown(name, cell),
                _interval(evaluation.metrics[name]),
                f"{other} {_interval(black_box)}".strip() if black_box is not None else "",
                tuple(chance),
                cell.note,
            )
        )
    return lines


def _interval(value: Measured | None) -> str:
    """The 95% interval in parentheses, in per cent; "" where there is none."""
    if value is None or value.interval is None:
        return ""
    low, high = (100 * end for end in value.interval)
    return f"({low:.1f} to {high:.1f}%)"
