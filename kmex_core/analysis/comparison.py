"""Evaluations side by side: black boxes, their KMEx, and what the paper published, as text, CSV, LaTeX or JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kmex_core.analysis.published import of_dataset, source
from kmex_core.base.plain_text import csv_text, latex
from kmex_core.data.registry import title
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation
from kmex_core.models.kinds import MODEL_KINDS

FORMATS = ("text", "csv", "latex")
COLUMNS = ("model", "source", "dataset", "k", "images", "metric", "better", "mean", "std", "std_over", "note")
CAVEAT = "(!)"  # marks numbers with a caveat
PAPERS_CLASS = "Male"  # of CelebA


@dataclass(frozen=True)
class Cell:
    """A number with its standard deviation, in the metric's unit; or why there is none.

    Attributes:
        mean: None when there is none.
        std: over runs, or over images where there was one run only (see `over`).
        over: "runs", "images" or "".
        note: why there is no number, what a published one is over, or what a measured one was compared with.
    """

    mean: float | None = None
    std: float | None = None
    over: str = ""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One model's numbers.

    Attributes:
        label: the model.
        source: "measured" or "paper".
        dataset, images, k: what the numbers are over; images and k are 0 for black boxes and published rows.
        cells: by metric.
        caveat: why numbers on test images may be too good, "" for no reason; its label ends in `CAVEAT` then.
    """

    label: str
    source: str
    dataset: str
    images: int
    k: int
    cells: dict[str, Cell]
    caveat: str = ""


def rows(evaluations: Sequence[Evaluation], with_published: bool = True) -> list[Row]:
    """A row for each model, each KMEx, and each of the two that the paper has for the same kinds and data sets.

    A black box's own numbers come with its KMEx; a prototypical model's with its evaluation on its own.
    """
    table = []
    for evaluation in evaluations:
        name = " / ".join(evaluation.models)
        which = [(name, False)] if evaluation.built_in else [(f"{name} + KMEx", False)]
        if evaluation.kind == "blackbox":
            which.insert(0, (name, True))
        for label, black_box in which:
            cells = {}
            for metric, kind in METRICS.items():
                key = kind.black_box if black_box else metric
                if key and key in evaluation.metrics:
                    cells[metric] = _cell(evaluation, key)
            data = title(evaluation.dataset) + (f" ({evaluation.class_column})" if evaluation.class_column else "")
            marked = f"{label} {CAVEAT}" if evaluation.caveat else label
            table.append(
                Row(
                    marked,
                    "measured",
                    data,
                    evaluation.images,
                    0 if black_box else evaluation.k,
                    cells,
                    evaluation.caveat,
                )
            )
    if with_published:
        same = (evaluation for evaluation in evaluations if evaluation.class_column in ("", PAPERS_CLASS))
        for model_kind, data in dict.fromkeys((evaluation.kind, title(evaluation.dataset)) for evaluation in same):
            table += _published(model_kind, data)
    return table


def _cell(evaluation: Evaluation, key: str) -> Cell:
    value = evaluation.metrics[key]
    compared = key == "faithfulness" and evaluation.reference and value.mean is not None
    beside = f"beside {evaluation.reference}" if compared else ""
    note = value.reason or beside
    if value.std is not None:
        return Cell(value.mean, value.std, "runs", note)
    return Cell(value.mean, value.std_images, "images" if value.std_images is not None else "", note)


def _published(kind: str, name: str) -> list[Row]:
    known = of_dataset(name)
    return [
        Row(
            f"{model} (paper)",
            "paper",
            known[0].dataset,
            0,
            0,
            {
                figure.metric: Cell(figure.mean, figure.std, "paper", f"Table {figure.table}: {figure.variant}")
                for figure in known
                if figure.model == model
            },
        )
        for model in (MODEL_KINDS[kind].paper if known else ())
    ]


def shown(metric: str, cell: Cell | None) -> str:
    """A cell in words: per cent for shares, "–" for what was not asked for, "not computed" for what cannot be."""
    if cell is None:
        return "–"
    if cell.mean is None:
        return "not computed"
    scale, digits, unit = (100, 1, " %") if METRICS[metric].unit == "share" else (1, 3, "")
    spread = "" if cell.std is None else f" ± {cell.std * scale:.{digits}f}"
    return f"{cell.mean * scale:.{digits}f}{spread}{unit}"


def metrics_of(table: Sequence[Row]) -> list[str]:
    """The metrics that were measured, in the catalogue's order."""
    return [name for name in METRICS if any(name in row.cells for row in table if row.source == "measured")]


def as_text(table: Sequence[Row]) -> str:
    """A metric per line, a model per column."""
    columns = [["", "data set", "prototypes per class", *(METRICS[name].heading for name in metrics_of(table))]]
    columns += [
        [row.label, row.dataset, str(row.k or "–"), *(shown(name, row.cells.get(name)) for name in metrics_of(table))]
        for row in table
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join([cells[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(cells[1:], widths[1:], strict=True))])
        for cells in zip(*columns, strict=True)
    ]
    reasons = dict.fromkeys(
        cell.note for row in table for cell in row.cells.values() if cell.mean is None and cell.note
    )
    notes = [f"not computed: {reason}" for reason in reasons]
    notes += measured_notes(table)
    if any(row.source == "paper" for row in table):
        notes += [f"(paper): {source()[1]}", *(f"(paper) {note}" for note in published_notes(table))]
    return "\n".join([*lines, *notes])


def measured_notes(table: Sequence[Row]) -> list[str]:
    """Caveats, and what measured numbers were compared with, where that is not plain from the row."""
    caveats = dict.fromkeys(f"{row.label}: {row.caveat}".rstrip(".") for row in table if row.caveat)
    return [*caveats] + [
        f"{METRICS[name].title} of {row.label}: {cell.note}"
        for row in table
        if row.source == "measured"
        for name, cell in row.cells.items()
        if cell.mean is not None and cell.note
    ]


def published_notes(table: Sequence[Row]) -> list[str]:
    """Which of the paper's tables its rows' numbers come from, and what those are over."""
    return sorted({cell.note for row in table if row.source == "paper" for cell in row.cells.values()})


def as_csv(table: Sequence[Row]) -> str:
    """A line per model and metric: fractions, not per cent."""
    lines: list[Sequence[Any]] = [COLUMNS]
    for row in table:
        for name, value in row.cells.items():
            numbers = ["" if number is None else number for number in (value.mean, value.std)]
            note = " ".join(filter(None, (row.caveat, value.note)))
            lines.append(
                [
                    row.label,
                    row.source,
                    row.dataset,
                    row.k or "",
                    row.images or "",
                    name,
                    METRICS[name].better,
                    *numbers,
                    value.over,
                    note,
                ]
            )
    return csv_text(lines)


def as_latex(table: Sequence[Row]) -> str:
    """A tabular with a model per line (it needs the package booktabs)."""
    names = metrics_of(table)
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(names)}}}",
        r"\toprule",
        " & ".join(["Model", *(latex(METRICS[name].heading) for name in names)]) + r" \\",
        r"\midrule",
        *(
            " & ".join([latex(f"{row.label}, {row.dataset}"), *(latex(shown(n, row.cells.get(n))) for n in names)])
            + r" \\"
            for row in table
        ),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par {latex(note)}" for note in measured_notes([row for row in table if row.caveat])),
    ]
    return "\n".join(lines)


def as_values(table: Sequence[Row]) -> list[dict[str, Any]]:
    """JSON-like values."""
    return [dataclasses.asdict(row) for row in table]


def evaluation_values(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON-like values: metrics by name, each with its mean, ± over runs, and direction."""
    black_box = {kind.black_box: name for name, kind in METRICS.items() if kind.black_box}
    values = {**dataclasses.asdict(evaluation), "seeds": list(evaluation.seeds), "models": list(evaluation.models)}
    values["own"] = values.pop("built_in")  # the name that readers of this JSON know
    values["metrics"] = {
        name: {
            "mean": measured.mean,
            "std": measured.std,
            "runs": list(measured.runs),
            "std_images": measured.std_images,
            "interval": measured.interval,
            "better": METRICS[black_box.get(name, name)].better,
            "not_computed": measured.reason or None,
        }
        for name, measured in evaluation.metrics.items()
    }
    return values
