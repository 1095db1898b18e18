"""The paper's tables, reproduced."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.errors import InputError
from kmex_core.commands._shared import Bar, DataRoot, Device, Json, Overwrite, answer_with, app, command_text

if TYPE_CHECKING:
    from kmex_core.reproduction.report import Judged
    from kmex_core.reproduction.types import Measured, Report


@app.command()
def reproduce(
    datasets: Annotated[
        str, typer.Option(metavar="NAME,…", help="Comma-separated data sets of the paper. Default: all seven.")
    ] = "",
    tables: Annotated[
        str, typer.Option(metavar="FIRST-LAST", help="The paper's tables: a range, or numbers with commas.")
    ] = "3-8",
    runs: Annotated[
        int, typer.Option(min=1, max=100, help="Trainings of each model, each with a seed of its own.")
    ] = 5,
    budget: Annotated[
        float,
        typer.Option(
            metavar="MINUTES", min=0, help="Train and measure only what fits into this time. Default (0): everything."
        ),
    ] = 0.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the report with the same options, or begin it.")
    ] = False,
    out: Annotated[
        str,
        typer.Option(metavar="FILE", help="Write the report as a Markdown page; its figure and its JSON go beside it."),
    ] = "",
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Reproduce Tables 3 to 8 of the paper: train what is missing by its recipe, convert, measure, and compare.

    Each figure of the paper is beside ours as published and by this product's definitions, over the trainings. Networks
    start from ImageNet weights; where those cannot be downloaded, from random ones, and the report says so. Data sets
    that are not in the data root are named with what to download.

    The report is stored after every training and every measurement. To continue an interrupted run, repeat the command
    with --resume. With --budget, the speed of this machine is measured first; the report names what was cut: epochs,
    runs, images for relevance maps, and models.

    Example: python -m kmex_core reproduce --datasets mnist --budget 60
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.outputs import check_file
        from kmex_core.base.paths import user_path
        from kmex_core.base.store import Store
        from kmex_core.reproduction.plan import Wanted
        from kmex_core.reproduction.report import judged
        from kmex_core.reproduction.runs import reproduce as reproduced

        page = user_path(out) if out else None
        if page is not None:
            check_file(page, overwrite)
        wanted = Wanted(_datasets(datasets), _tables(tables), runs, budget)

        def tell(sentence: str) -> None:
            bar.close()
            print(sentence, file=sys.stderr)

        report = reproduced(
            Store(),
            wanted,
            data_root=data_root,
            device=device,
            resume=resume,
            command=command_text(),
            progress=bar,
            tell=tell,
        )
        written = [str(path) for path in _write(report, page)] if page is not None else []
        verdicts = [dataclasses.asdict(each.verdict) for each in judged(report)]  # of the cells, in their order
        return dataclasses.asdict(report) | {
            "verdicts": verdicts,
            "text": "\n".join(_text(report)),
            "files": written,
        }

    def show(answer: dict[str, Any]) -> None:
        print(answer["text"])
        for path in answer["files"]:
            print(f"Wrote {path}")

    answer_with(as_json, work, show)


def _datasets(text: str) -> tuple[str, ...]:
    """The data sets of `--datasets`, in the given order.

    Raises:
        InputError: for one that the paper does not have.
    """
    from kmex_core.reproduction.recipes import PAPER_DATA, paper_data

    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(paper_data(name).name for name in names)) or tuple(PAPER_DATA)


def _tables(text: str) -> tuple[int, ...]:
    """The numbers of "3-8" or "3,5", ascending.

    Raises:
        InputError: for anything but tables that the product has figures of.
    """
    from kmex_core.reproduction.plan import TABLES

    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*", part)
        chosen = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not chosen or not set(chosen) <= set(TABLES):
            raise InputError(f"Invalid --tables '{text}': expected numbers from 3 to 8, for example 3-8 or 3,5.")
        numbers.update(chosen)
    return tuple(sorted(numbers))


def _write(report: Report, page: Path) -> list[Path]:
    """Write the page of a report and what belongs to it, and name the files."""
    from kmex_core.reproduction.report import write_page

    return write_page(report, page)


# ---- text -----------------------------------------------------------------------------------------------------------


def _text(report: Report) -> Iterator[str]:
    """The report for a terminal."""
    from kmex_core.metrics.catalogue import METRICS
    from kmex_core.reproduction.report import judged

    filled = [each for each in judged(report) if each.cell.published is not None]
    yield f"{len(filled)} of {len(report.cells)} figures of the paper were measured."
    for setting in report.settings:
        weights = "ImageNet weights" if setting.imagenet else "random weights"
        yield (
            f"{setting.kind} on {setting.dataset}: {setting.backbone} from {weights}, {setting.epochs} of "
            f"{setting.paper_epochs} epochs, {setting.runs} of {setting.paper_runs} runs, "
            f"{setting.images_per_second:,.0f} images a second"
        )
    for table, metric in dict.fromkeys((each.cell.table, each.cell.metric) for each in filled):
        yield f"\nTable {table}: {METRICS[metric].heading}"
        yield f"  {'data set':10} {'model':16} {'paper':>16} {'as published':>16} {'second edition':>16}  verdict"
        yield from (_line(each) for each in filled if (each.cell.table, each.cell.metric) == (table, metric))
    reasons = dict.fromkeys(cell.missing for cell in report.cells if cell.missing)
    sentences = [*dict.fromkeys((*reasons, *report.left))]
    if sentences:
        yield ""
    yield from sentences


def _line(judged: Judged) -> str:
    from kmex_core.metrics.catalogue import METRICS

    cell, errors = judged.cell, judged.verdict.standard_errors
    kind = METRICS[cell.metric]
    apart = "" if errors is None else f" ({errors:+.1f} standard errors)"
    paper = f"{kind.shown(cell.mean)} ± {kind.shown(cell.std)}"
    ours, second = (_shown(cell.metric, measured) for measured in (cell.published, cell.second))
    return f"  {cell.dataset:10} {cell.model:16} {paper:>16} {ours:>16} {second:>16}  {judged.verdict.outcome}{apart}"


def _shown(metric: str, measured: Measured | None) -> str:
    """A figure over trainings, with its standard deviation where there are several."""
    import numpy as np

    from kmex_core.metrics.catalogue import METRICS

    if measured is None:
        return "-"
    kind, values = METRICS[metric], measured.values
    spread = f" ± {kind.shown(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
    return f"{kind.shown(float(np.mean(values)))}{spread}"
