"""docs/reproduction.md: what a reproduction of the paper found, as a page whose every sentence is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmex_core.analysis import published
from kmex_core.base.files import write_bytes
from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import document
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.reproduction import verdicts
from kmex_core.reproduction.chart import figure_5, panels, usable
from kmex_core.reproduction.page_parts import (
    bullets,
    by_data,
    duration,
    made_by,
    markdown_table,
    number,
    sentence,
    signed,
)
from kmex_core.reproduction.report_json import to_json
from kmex_core.reproduction.types import Cell, CurveRow, Measured, Outcome, Report, Setting, Verdict
from kmex_core.reproduction.verdicts import SYMBOLS

FIGURE = "images/reproduction/figure-5.svg"
OUTCOMES: tuple[Outcome, ...] = ("reproduced", "differs", "cannot be had")
_NONE = OUTCOMES[-1]


@dataclass(frozen=True)
class Judged:
    """A figure of the paper with its verdict.

    Attributes:
        cell: the figure, and what was measured for it.
        setting: how the model was trained; None where it was not.
        verdict: on it.
    """

    cell: Cell
    setting: Setting | None
    verdict: Verdict

    @property
    def is_as_chance(self) -> bool:
        """Whether it is reproduced, as chance would."""
        return self.verdict.outcome == "reproduced" and bool(verdicts.chance_as_well(self.cell))

    @property
    def how(self) -> str:
        """What there is to say of a reproduction in a few words; "" for nothing, and where it is none."""
        if self.verdict.outcome != "reproduced":
            return ""
        errors = self.verdict.standard_errors
        weakly = self.cell.table == verdicts.OVER_IMAGES and errors is not None and abs(errors) > verdicts.WITHIN
        how = ["weakly"] * weakly + ["as chance would"] * self.is_as_chance
        return joined("and", how) if how else ""


def judged(report: Report) -> list[Judged]:
    """The verdicts on all figures of a report."""
    return [
        Judged(cell, setting, verdicts.verdict(cell, setting))
        for cell in report.cells
        for setting in [verdicts.setting_of(cell, report.settings)]
    ]


def write_page(report: Report, path: Path) -> list[Path]:
    """Write the page, and beside it its figure and the report that both are made of.

    Args:
        report: the report.
        path: of the page; the report has the same name, ending in `.json`.

    Returns:
        The files.

    Raises:
        StoreError: when a file cannot be written.
    """
    text, pictures = page(report)
    files = {path: text, path.with_suffix(".json"): to_json(report) + "\n"}
    files |= {path.parent / name: drawing for name, drawing in pictures.items()}
    for file, content in files.items():
        write_bytes(file, content.encode())
    return list(files)


def page(report: Report) -> tuple[str, dict[str, str]]:
    """The text of docs/reproduction.md, and its figures by their paths in docs/.

    Every name in the report is text; nothing in it is taken for Markdown or HTML.
    """
    found = judged(report)
    pictures = {FIGURE: figure_5(report.curve)} if usable(report.curve) else {}
    parts = [_introduction(report), *_summary(report, found), *_settings(report)]
    for (table, metric), of_table in _by_table(found).items():
        parts += _table_of(report, table, metric, of_table)
    parts += [*_findings(report, found), *_defects(report), *_curve(report, pictures), *_machine(report)]
    return "\n\n".join(parts) + "\n", pictures


# ---- the whole ------------------------------------------------------------------------------------------------------


def _introduction(report: Report) -> str:
    source, setting = published.source()
    budget = f" With a budget of {report.budget:g} minutes." if report.budget > 0 else ""
    return f"""# The paper, reproduced

The figures of the paper beside those that this product measures: which are reproduced, which are not, and why, as far
as that is known. The paper: {document(source)} Its setting: {document(setting)}.

`kmex reproduce` writes this page; do not edit it. {made_by(report)} on {document(report.date[:10])}.{budget}

- **Paper**: mean ± standard deviation over {verdicts.PAPER_RUNS} runs; in Table 4 over images and runs.
- **Ours, as published**: by the paper's definition, mean ± standard deviation over trainings (none for a single one).
  **Second edition**: by this project's definition, where it is another one. In parentheses: what chance gives.
- **Difference**: ours minus the paper's; in parentheses in standard errors, √(paper's²/{verdicts.PAPER_RUNS} +
  ours²/trainings). A single training is taken to vary as the paper's do. In Table 4: those of means over
  {verdicts.IMAGES:,} images.
- **Verdict**: {SYMBOLS["reproduced"]} reproduced: within 2 standard deviations, √(paper's² + ours²), of a single
  training the paper's alone, and at least half a unit in the last digit that the paper prints.
  {SYMBOLS["differs"]} differs. {SYMBOLS["cannot be had"]} cannot be had here. *As chance would*: what chance gives is
  as near. *Weakly*: in Table 4, where the difference is more than the choice of 1,000 images gives. The numbers lead to
  the notes below each table: what is known to be different from the paper.
- ↑: higher is better, ↓: lower is better. Shares are in per cent, their differences in percentage points."""


def _summary(report: Report, found: Sequence[Judged]) -> list[str]:
    rows = []
    for table in sorted({each.cell.table for each in found}):
        of_table = [each for each in found if each.cell.table == table]
        titles = dict.fromkeys(METRICS[each.cell.metric].heading for each in of_table)
        rows.append([f"{table}", "; ".join(titles), *_counts(of_table)])
    parts = ["## Summary", counted(found)]
    if rows:
        head = (
            "table",
            "metric",
            "figures",
            "✓ reproduced",
            "of these, as chance would",
            "≠ differs",
            "– cannot be had",
        )
        parts.append(markdown_table(head, [*rows, ["all", "", *_counts(found)]]))
    if report.left:
        parts += ["There was no time for:", bullets(sentence(each) for each in report.left)]
    return parts


def counted(found: Sequence[Judged]) -> str:
    """How many figures are reproduced, differ and cannot be had, in a sentence."""
    count = {outcome: sum(each.verdict.outcome == outcome for each in found) for outcome in OUTCOMES}
    had = count["reproduced"] + count["differs"]
    if not had:
        return f"None of the paper's {len(found):,} figures could be measured."
    chance = sum(each.is_as_chance for each in found)
    as_chance = f" ({chance:,} of them as chance would)" if chance else ""
    return (
        f"Of the {had:,} figures that were measured, {count['reproduced']:,} are reproduced{as_chance} and "
        f"{count['differs']:,} differ; {count['cannot be had']:,} more cannot be had here."
    )


def _counts(found: Sequence[Judged]) -> list[str]:
    reproduced, differs, missing = (sum(each.verdict.outcome == outcome for each in found) for outcome in OUTCOMES)
    chance = sum(each.is_as_chance for each in found)
    return [f"{number:,}" for number in (len(found), reproduced, chance, differs, missing)]


def _settings(report: Report) -> list[str]:
    if not report.settings:
        return ["## Settings", "Nothing was trained."]
    head = (
        *("data set", "model", "network", "initial weights", "epochs (paper)", "trainings (paper)"),
        *("training images", "test images", "training time", "images/s ↑", "device"),
    )
    rows = [
        [
            *(document(each.dataset), document(_kind(each)), document(each.backbone)),
            "ImageNet" if each.imagenet else "random",
            f"{each.epochs} ({each.paper_epochs})",
            f"{each.runs} ({each.paper_runs})",
            *(f"{each.images:,}", f"{each.test_images:,}", duration(each.seconds)),
            f"{each.images_per_second:,.0f}" if each.images_per_second > 0 else "–",
            document(each.device),
        ]
        for each in report.settings
    ]
    notes: dict[str, list[tuple[str, str]]] = {}
    for each in report.settings:
        for note in each.notes:
            notes.setdefault(sentence(note), []).append((each.dataset, document(_kind(each))))
    listed = bullets(f"{by_data(of)}: {note}" for note, of in notes.items())
    parts = ["## Settings", "Trainings behind the figures; the time is that of all trainings of a row together."]
    return [*parts, f"{made_by(report)}.", markdown_table(head, rows), *([listed] if notes else [])]


def _kind(setting: Setting) -> str:
    kind = MODEL_KINDS.get(setting.kind)
    return kind.paper[0] if kind else setting.kind


def _machine(report: Report) -> list[str]:
    lines = [f"{document(name)}: {document(value)}" for name, value in (*report.machine, *report.versions)]
    return ["## Machine and versions", bullets(lines)] if lines else []


# ---- tables ---------------------------------------------------------------------------------------------------------


def _by_table(found: Sequence[Judged]) -> dict[tuple[int, str], list[Judged]]:
    """By table and metric, each in the order of its data sets and models."""
    tables: dict[tuple[int, str], list[Judged]] = {}
    for each in sorted(found, key=lambda each: each.cell.table):
        tables.setdefault((each.cell.table, each.cell.metric), []).append(each)
    for of_table in tables.values():
        datasets = list(dict.fromkeys(each.cell.dataset for each in of_table))
        of_table.sort(key=lambda each: datasets.index(each.cell.dataset))
    return tables


def _table_of(report: Report, table: int, metric: str, found: Sequence[Judged]) -> list[str]:
    kind = METRICS[metric]
    others = dict.fromkeys(METRICS[each.cell.second.metric].heading for each in found if each.cell.second)
    second = f"Second edition: {'; '.join(others)}. " if others else ""
    variants = [each.variant for each in published.figures() if (each.table, each.metric) == (table, metric)]
    weak = ""
    if table == verdicts.OVER_IMAGES:
        weak = "Its ± is over images, so a verdict by it is weak: see the standard errors. "
    over = f"The paper's: {document(variants[0])}. " if variants else ""
    notes = _Notes()
    unit = "points" if kind.unit == "share" else kind.unit
    difference = f"difference{f', {unit}' if unit else ''} (standard errors)"
    head = ("data set", "model", "paper", "ours, as published", "ours, second edition", difference, "verdict")
    of_data: dict[str, list[Judged]] = {}
    for each in found:
        of_data.setdefault(each.cell.dataset, []).append(each)
    rows = [row for part in of_data.values() for row in _rows(part, notes)]
    return [
        f"## Table {table}: {kind.heading}",
        f"{over}{weak}{second}{made_by(report)}.",
        markdown_table(head, rows),
        *notes.listed(),
    ]


class _Notes:
    """Sentences below a table by their numbers, in the order in which its rows refer to them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, phrases: Iterable[str]) -> str:
        """The numbers of notes as a row refers to them: " (1, 3)"; "" for none."""
        found = [
            self._numbers.setdefault(sentence(phrase), len(self._numbers) + 1) for phrase in phrases if phrase.strip()
        ]
        return f" ({', '.join(map(str, sorted(set(found))))})" if found else ""

    def listed(self) -> list[str]:
        """The notes, at most one part of a page."""
        return ["\n".join(f"{place}. {note}" for note, place in self._numbers.items())] if self._numbers else []


def _rows(found: Sequence[Judged], notes: _Notes) -> list[list[str]]:
    """A row for each model of a data set; a single one where none of them can be had, for the same reason."""
    if len(found) < 2 or any(each.verdict != found[0].verdict for each in found) or found[0].verdict.outcome != _NONE:
        return [_row(each, notes) for each in found]
    first = _row(found[0], notes)
    figures = "; ".join(f"{document(each.cell.model)} {verdicts.paper_figure(each.cell)}" for each in found)
    return [[first[0], f"all {len(found)}", figures, *first[3:]]]


def _row(each: Judged, notes: _Notes) -> list[str]:
    cell, outcome = each.cell, each.verdict.outcome
    words = f"{SYMBOLS[outcome]} {outcome}"
    if outcome == _NONE:
        phrases = [each.verdict.because]
    elif outcome == "differs":
        known = verdicts.causes(cell, each.setting)
        phrases, words = [*cell.short, *known], words + ("" if known else ", unexplained")
    else:
        phrases, words = list(cell.short), words + (f", {each.how}" if each.how else "")
    return [
        *(document(cell.dataset), document(cell.model), verdicts.paper_figure(cell)),
        *(_ours(cell.published), _ours(cell.second), _difference(each)),
        words + notes.numbers(phrases),
    ]


def _ours(measured: Measured | None) -> str:
    """Our figure, with what chance gives."""
    words = verdicts.our_figure(measured)
    if measured is None or words == "–":
        return "–"
    levels = [
        f"{document(name)} {METRICS[measured.metric].shown(value)}"
        for name, value in measured.chance
        if math.isfinite(value)
    ]
    return f"{words} ({'; '.join(levels)})" if levels else words


def _difference(each: Judged) -> str:
    ours = verdicts.mean(each.cell.published)
    if ours is None or each.verdict.outcome == _NONE:
        return "–"
    errors = each.verdict.standard_errors
    beside = "no spread" if errors is None else signed(errors, 1)
    scale, digits = (100, 2) if METRICS[each.cell.metric].unit == "share" else (1, 3)
    return f"{signed((ours - each.cell.mean) * scale, digits)} ({beside})"


# ---- what it says ---------------------------------------------------------------------------------------------------


def _findings(report: Report, found: Sequence[Judged]) -> list[str]:
    lines = []
    for (table, metric), of_table in _by_table(found).items():
        lines.append(f"**Table {table}, {METRICS[metric].heading}**: {_finding(of_table)}")
    return ["## What reproduces, what does not, and why", f"{made_by(report)}.", bullets(lines)] if lines else []


def _finding(found: Sequence[Judged]) -> str:
    """What a table's verdicts say together."""
    by_outcome = {outcome: [each for each in found if each.verdict.outcome == outcome] for outcome in OUTCOMES}
    reproduced, differs = by_outcome["reproduced"], by_outcome["differs"]
    if not reproduced and not differs:
        return "nothing could be measured."
    sentences = []
    if reproduced:
        sentences.append(f"reproduced: {_named(reproduced, _how)}.")
    if differs:
        sentences.append(f"{'differs' if not reproduced else 'Differs'}: {_named(differs, _side)}.")
        if unexplained := [each for each in differs if not verdicts.causes(each.cell, each.setting)]:
            sentences.append(f"Nothing that is known explains: {_named(unexplained)}.")
    return "\n".join([" ".join(sentences), *_known(differs)])


def _known(differs: Sequence[Judged]) -> list[str]:
    """What is known to differ and can be the cause, with how many figures it bears on, as the lines of a list."""
    known: dict[str, int] = {}
    for each in differs:
        for phrase in dict.fromkeys(map(sentence, verdicts.causes(each.cell, each.setting))):
            known[phrase] = known.get(phrase, 0) + 1
    most_first = sorted(known.items(), key=lambda item: -item[1])
    return [f"    - Can be the cause of {count} of {len(differs)}: {phrase}" for phrase, count in most_first]


def _named(found: Sequence[Judged], about: Callable[[Judged], str] = lambda _: "") -> str:
    """Models by data set, each with what is to be said about it."""
    return by_data([(each.cell.dataset, document(each.cell.model) + about(each)) for each in found])


def _how(each: Judged) -> str:
    return f" {each.how}" if each.how else ""


def _side(each: Judged) -> str:
    ours = verdicts.mean(each.cell.published) or 0.0
    side = "higher" if ours > each.cell.mean else "lower"
    return f" {verdicts.amount(each.cell.metric, ours - each.cell.mean)} {side}"


def _defects(report: Report) -> list[str]:
    if not report.defects:
        return []
    head = ("defect", "figure", "with it", "without it", "chance", "on", "so")
    rows = [
        [
            *(sentence(row.defect), document(row.metric), number(row.with_defect), number(row.without)),
            "–" if row.chance is None else number(row.chance),
            document(f"{row.dataset}, {row.model}"),
            sentence(row.says),
        ]
        for row in report.defects
    ]
    about = (
        f"Each known defect of the paper or its released code: a figure with it and without it. {made_by(report)} "
        f"({joined('and', dict.fromkeys(document(row.dataset) for row in report.defects))})."
    )
    return ["## Defects of the paper and its released code", about, markdown_table(head, rows)]


def _curve(report: Report, pictures: dict[str, str]) -> list[str]:
    rows = usable(report.curve)
    if not rows or FIGURE not in pictures:
        return []
    parts = ["## Figure 5: attributes captured ↑", f"{sentence(report.curve_about)} {made_by(report)}.".strip()]
    parts += [f"![Attributes captured by number of prototypes per class, as in the tables below]({FIGURE})"]
    parts.append(_beside_chance(rows))
    for heading, part in panels(rows):
        models = list(dict.fromkeys(row.model for row in part))
        points = {(row.k, row.model): row for row in part}
        head = ("prototypes per class", *(f"{document(model)} (chance, 95%)" for model in models))
        lines = [
            [f"{k}", *(_point(points.get((k, model))) for model in models)] for k in sorted({row.k for row in part})
        ]
        parts += [f"**{heading}**, of {max(row.of for row in part):,} attributes:", markdown_table(head, lines)]
    return parts


def _point(row: CurveRow | None) -> str:
    if row is None:
        return "–"
    captured, low, high = (number(round(value, 1)) for value in (row.captured, row.low, row.high))
    return f"{captured} ({low} to {high})"


def _beside_chance(rows: Sequence[CurveRow]) -> str:
    """Which points are above or below the band of as many random training images."""
    above = [row for row in rows if row.captured > row.high]
    below = [row for row in rows if row.captured < row.low]
    within = sum(row.low <= row.captured <= row.high for row in rows)
    said = [f"Of {len(rows)} points, {within} are within the band of as many random training images"]
    for side, part in (("above", above), ("below", below)):
        if part:
            said.append(f"{len(part)} {side} it ({', '.join(f'{document(row.model)} at {row.k}' for row in part)})")
    return f"{joined('and', said)}."
