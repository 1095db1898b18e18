"""Evaluations side by side: black boxes, their KMEx, and what the paper published, as text, CSV, LaTeX or JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.analysis.published import of_dataset, source
from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import csv_text, latex
from kmex_core.data.registry import title
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.source import numbered

FORMATS = ("text", "csv", "latex")
# what a ± is over
IMAGES, SEEDS, SAMPLES, TRAININGS, PAPER = "images", "k-means seeds", "image samples", "trainings", "paper"
SPREADS = {
    IMAGES: "std_images",
    SEEDS: "std_seeds",
    SAMPLES: "std_samples",
    TRAININGS: "std_trainings",
    PAPER: "std_paper",
}
COLUMNS = (
    *("model", "source", "dataset", "k", "images", "metric", "better", "mean"),
    *SPREADS.values(),
    *("better_than_chance", "note"),
)
CAVEAT = "(!)"  # marks numbers with a caveat
PAPERS_CLASS = "Male"  # of CelebA


@dataclass(frozen=True)
class Cell:
    """A number with its standard deviations, in the metric's unit; or why there is none.

    Attributes:
        mean: None when there is none.
        spreads: standard deviations by what they are over, a key of `SPREADS`: images (of the mean over an image's
            prototypes), k-means seeds (for numbers that do not depend on k-means: samples of test images), trainings,
            or what the paper gives.
        note: why there is no number, what a published one is over, or what a measured one was compared with.
        better_than_chance: whether it is better than each of its chance levels; None where it has none.
        not_better_than: the chance levels that it is not better than, names of metrics.
    """

    mean: float | None = None
    spreads: dict[str, float] = field(default_factory=dict)
    note: str = ""
    better_than_chance: bool | None = None
    not_better_than: tuple[str, ...] = ()

    @property
    def over(self) -> str:
        """What the ± that is shown is over: trainings, else seeds, else images; "" for none."""
        return next((over for over in reversed(SPREADS) if over in self.spreads), "")


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
        for label, black_box in labels_of(evaluation):
            cells = {}
            for metric, kind in METRICS.items():
                key = kind.black_box if black_box else metric
                if key and key in evaluation.metrics:
                    cells[metric] = _cell(evaluation, metric, key)
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


def _cell(evaluation: Evaluation, metric: str, key: str) -> Cell:
    value = evaluation.metrics[key]
    compared = key == "faithfulness" and evaluation.reference and value.mean is not None
    beside = f"beside {evaluation.reference}" if compared else ""
    # a black box, built-in and edited prototypes do not depend on the seed of k-means, which also draws the test images
    of_kmeans = key == metric and not evaluation.built_in and not evaluation.version
    spreads = {
        IMAGES: value.std_images,
        SEEDS: value.std_seeds if of_kmeans else None,
        SAMPLES: None if of_kmeans or not METRICS[metric].maps else value.std_seeds,
        TRAININGS: value.std_trainings,
    }
    return Cell(
        value.mean,
        {over: std for over, std in spreads.items() if std is not None},
        value.reason or beside,
        value.better_than_chance,
        tuple(metric_of(against.name) for against in value.against if not against.better),
    )


def metric_of(name: str) -> str:
    """The metric of a measurement, of the model's or of the black box's."""
    return name if name in METRICS else next(metric for metric, kind in METRICS.items() if kind.black_box == name)


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
                figure.metric: Cell(figure.mean, {PAPER: figure.std}, f"Table {figure.table}: {figure.variant}")
                for figure in known
                if figure.model == model
            },
        )
        for model in (MODEL_KINDS[kind].paper if known else ())
    ]


def shown(metric: str, cell: Cell | None) -> str:
    """A cell in words: per cent for shares, with what its ± is over; "–" for what was not asked for, "not computed" for
    what cannot be."""
    if cell is None:
        return "–"
    if cell.mean is None:
        return "not computed"
    scale, digits, unit = (100, 1, "%") if METRICS[metric].unit == "share" else (1, 3, "")
    spread = f" ± {cell.spreads[cell.over] * scale:.{digits}f}" if cell.over else ""
    over = f" ({cell.over})" if cell.over not in ("", PAPER) else ""
    return f"{cell.mean * scale:.{digits}f}{spread}{unit}{over}"


def metrics_of(table: Sequence[Row]) -> list[str]:
    """The metrics that were measured, in the catalogue's order."""
    return [name for name in METRICS if any(name in row.cells for row in table if row.source == "measured")]


def as_text(table: Sequence[Row]) -> str:
    """A metric per line, a model per column."""
    columns = [["", "data set", "prototypes per class", *(METRICS[name].heading for name in metrics_of(table))]]
    columns += [
        [
            row.label,
            row.dataset,
            str(numbered(row.k) if row.k else "–"),
            *(shown(name, row.cells.get(name)) for name in metrics_of(table)),
        ]
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
    """Caveats, what measured numbers were compared with, where that is not plain from the row, and which numbers are no
    better than chance."""
    caveats = dict.fromkeys(f"{row.label}: {row.caveat}".rstrip(".") for row in table if row.caveat)
    return (
        [*caveats]
        + [
            f"{METRICS[name].title} of {row.label}: {cell.note}"
            for row in table
            if row.source == "measured"
            for name, cell in row.cells.items()
            if cell.mean is not None and cell.note
        ]
        + [
            f"{METRICS[name].title} of {row.label} is no better than chance: {_named(cell.not_better_than)}"
            for row in table
            for name, cell in row.cells.items()
            if cell.not_better_than
        ]
    )


def _named(chance_levels: Sequence[str]) -> str:
    titles = [METRICS[name].title for name in chance_levels]
    return joined("and", [titles[0], *map(_within, titles[1:])])


def _within(title: str) -> str:
    """A title as it is written within a sentence."""
    return title[0].lower() + title[1:]


def chance_sentences(evaluation: Evaluation, group: str = "") -> list[str]:
    """For each metric with chance levels (of a group), whether it is better than them, in a sentence.

    Each is compared over the images: better by more than 1.96 standard errors of the paired differences.
    """
    sentences = []
    for name, kind in METRICS.items():
        for key, whose in ((name, ""), (kind.black_box, "The black box: ")):
            value = evaluation.metrics.get(key)
            if value is None or value.mean is None or not value.against or group not in ("", kind.group):
                continue
            parts = []
            for verdict in (True, False):
                beside = [against for against in value.against if against.better == verdict]
                if beside:
                    levels = [_level(evaluation, against.name) for against in beside]
                    parts.append(f"{'better' if verdict else 'no better'} than {joined('and', levels)}")
            title = _within(kind.title) if whose else kind.title
            sentences.append(f"{whose}{title} ({kind.with_unit(value.mean)}) is {', and '.join(parts)}.")
    return sentences


def _level(evaluation: Evaluation, key: str) -> str:
    kind, mean = METRICS[metric_of(key)], evaluation.metrics[key].mean
    assert mean is not None
    return f"{kind.chance_name} ({kind.shown(mean)})"


@dataclass(frozen=True)
class Difference:
    """How much more accurate one model is than another on the same test images.

    Attributes:
        model, other: labels of their rows.
        mean: difference of the shares of correct predictions, −1…1.
        low, high: its paired 95% interval, see `metrics.paired_interval`.
        p: of McNemar's test.
        images: how many.
    """

    model: str
    other: str
    mean: float
    low: float
    high: float
    p: float
    images: int

    @property
    def text(self) -> str:
        """In a sentence, without its stop."""
        mean, low, high = (_points(share) for share in (self.mean, self.low, self.high))
        return (
            f"Accuracy of {self.model} minus that of {self.other}: {mean} points on the same {self.images:,} test "
            f"images (95% interval {low} to {high}, McNemar's test p = {self.p:.2g})"
        )


def _points(share: float) -> str:
    """A difference of shares in percentage points, with its sign; 0 has none."""
    points = round(share * 100, 1)
    return "0.0" if points == 0 else f"{points:+.1f}".replace("-", "−")


def differences(evaluations: Sequence[Evaluation]) -> list[Difference]:
    """The accuracy of every model against the first one with the same test images, by the first run of each."""
    firsts: list[tuple[str, Evaluation, np.ndarray]] = []
    found = []
    for evaluation in evaluations:
        if not len(evaluation.labels):
            continue
        for label, black_box in labels_of(evaluation):
            right = evaluation.right_black_box if black_box else evaluation.right
            first = next(
                (
                    (name, of_first)
                    for name, other, of_first in firsts
                    if other.dataset == evaluation.dataset and np.array_equal(other.labels, evaluation.labels)
                ),
                None,
            )
            if first is None:
                firsts.append((label, evaluation, right))
                continue
            mean, low, high = metrics.paired_interval(right, first[1])
            p = metrics.paired_p_value(right, first[1])
            found.append(Difference(label, first[0], mean, low, high, p, len(right)))
    return found


def labels_of(evaluation: Evaluation) -> list[tuple[str, bool]]:
    """The labels of an evaluation's rows, and whether each is the black box's."""
    name = " / ".join(evaluation.models)
    title = f"{name} + KMEx ({evaluation.version})" if evaluation.version else f"{name} + KMEx"
    which = [(name, False)] if evaluation.built_in else [(title, False)]
    return [(name, True), *which] if evaluation.kind == "blackbox" and evaluation.predicts else which


def published_notes(table: Sequence[Row]) -> list[str]:
    """Which of the paper's tables its rows' numbers come from, and what those are over."""
    return sorted({cell.note for row in table if row.source == "paper" for cell in row.cells.values()})


def as_csv(table: Sequence[Row]) -> str:
    """A line per model and metric: fractions, not per cent."""
    lines: list[Sequence[Any]] = [COLUMNS]
    for row in table:
        for name, value in row.cells.items():
            better = "" if value.better_than_chance is None else str(value.better_than_chance).lower()
            note = " ".join(filter(None, (row.caveat, value.note)))
            lines.append(
                [
                    row.label,
                    row.source,
                    row.dataset,
                    numbered(row.k) if row.k else "",
                    row.images or "",
                    name,
                    METRICS[name].better,
                    "" if value.mean is None else value.mean,
                    *(value.spreads.get(over, "") for over in SPREADS),
                    better,
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
    """An evaluation as JSON-like values: metrics by name, each with its mean, standard deviations over images, k-means
    seeds and trainings, direction, and how much better it is than its chance levels."""
    values = {
        field.name: getattr(evaluation, field.name)
        for field in dataclasses.fields(evaluation)
        if not isinstance(getattr(evaluation, field.name), np.ndarray)
    } | {"seeds": list(evaluation.seeds), "models": list(evaluation.models)}
    values["own"] = values.pop("built_in")  # the name that readers of this JSON know
    values["metrics"] = {
        name: {
            "mean": measured.mean,
            "std_seeds": measured.std_seeds,
            "std_trainings": measured.std_trainings,
            "runs": list(measured.runs),
            "std_images": measured.std_images,
            "interval": measured.interval,
            "better": METRICS[metric_of(name)].better,
            "better_than_chance": measured.better_than_chance,
            "chance": {
                against.name: {
                    "mean": evaluation.metrics[against.name].mean,
                    "difference": against.difference,
                    "standard_error": against.error,
                    "better": against.better,
                }
                for against in measured.against
            },
            "not_computed": measured.reason or None,
        }
        for name, measured in evaluation.metrics.items()
    }
    return values
