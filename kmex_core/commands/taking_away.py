"""A model as files to take away: for import, for Python, as a graph, a report, a table of its images, a card."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import kmex_core
from kmex_core.base.errors import InputError
from kmex_core.commands._shared import (
    Bar,
    DataRoot,
    Device,
    Json,
    K,
    Metric,
    ModelName,
    Overwrite,
    Own,
    SavedVersion,
    SkipBroken,
    answer_with,
    app,
    open_subject,
    source_of,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource, Version

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject

REPORTS = "kmex.reports"  # the group of entry points that make reports
MAKER = "app.report:html_report"  # what makes the report in a clone, where nothing is installed
Made = tuple[int, list[str]]  # the size of a file in bytes, and notes


@app.command()
def export(
    model: ModelName,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights and description, for `import` (safetensors).")
    ] = None,
    kmex: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="KMEx in one file, for KMEx.load: prototypes, thumbnails, preprocessing, calibration and card "
            "(safetensors).",
        ),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="KMEx as an ONNX graph: pixels to similarities, class scores and posterior."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A report in one file, which any browser opens offline.")
    ] = None,
    parquet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A row per image: embedding, place on the embedding map, predictions and nearest prototype.",
        ),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A model card (README.md) in Hugging Face's format.")
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Add the network and its weights to --kmex.")] = False,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Add a small picture of each image to the Parquet file.")
    ] = False,
    k: K = 5,
    metric: Metric = AUTO,
    own: Own = False,
    version: SavedVersion = "",
    overwrite: Overwrite = False,
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Write a model to files: for import, for Python, for other programs, a report, a table, a card; several at once.

    All but --out need the embedding (see `convert`), and contain further results as far as the store has them.
    The report names the commands that compute the others.

    Example: python -m kmex_core export --model digits --html digits.html --kmex digits.kmex --weights
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.outputs import check_file

        asked = {"out": out, "kmex": kmex, "onnx": onnx, "html": html, "parquet": parquet, "card": card}
        files = {kind: path for kind, path in asked.items() if path is not None}
        if not files:
            raise InputError("Nothing to write: pass --out, --kmex, --onnx, --html, --parquet or --card, with a FILE.")
        if len({path.absolute() for path in files.values()}) < len(files):
            raise InputError("Two of the files are the same. Choose different ones.")
        if thumbnails and parquet is None:
            raise InputError("--thumbnails are pictures in the table: pass --parquet FILE, too.")
        if weights and kmex is None:
            raise InputError("--weights are the network's in the KMEx file: pass --kmex FILE, too.")
        for kind, path in files.items():
            check_file(path, overwrite, f"--{kind}")
        makers: dict[str, Callable[[Path], Made]] = {}
        if out is not None:
            makers["out"] = lambda path: _weights(model, path)
        if files.keys() != {"out"}:
            maker = report_maker() if html is not None else None
            if own and (kmex is not None or onnx is not None):
                _check_source(BuiltIn())
            subject = open_subject(model, data_root, skip_broken, device, bar)
            source = source_of(subject, k, 0, metric, own, version)
            makers["kmex"] = lambda path: _kmex(subject, source, path, weights)
            makers["onnx"] = lambda path: _onnx(subject, source, path)
            makers["parquet"] = lambda path: _table(subject, source, path, thumbnails)
            makers["card"] = lambda path: _card(subject, source, path)
            makers["html"] = lambda path: _report(maker, subject, source, path)
        written, notes = [], list[str]()
        for kind, path in files.items():
            size, more = makers[kind](path)
            written.append({"kind": kind, "path": str(path), "bytes": size})
            notes += more
        first = {"out": str(out), "bytes": written[0]["bytes"]} if out is not None else {}
        return {"model": model, **first, "files": written, "notes": list(dict.fromkeys(notes))}

    def show(answer: dict[str, Any]) -> None:
        for file in answer["files"]:
            print(f"Wrote {file['path']} ({file['bytes'] / 2**20:.1f} MiB).")

    answer_with(as_json, work, show)


def _weights(model: str, path: Path) -> Made:
    from kmex_core.base.files import write_bytes
    from kmex_core.base.store import Store
    from kmex_core.models import catalogue

    content = catalogue.exported(Store(), model)
    write_bytes(path, content)
    return len(content), []


def _check_source(source: PrototypeSource) -> None:
    from kmex_core.stages.taken_away import check_source

    check_source(source)


def _kmex(subject: Subject, source: PrototypeSource, path: Path, weights: bool) -> Made:
    from kmex_core.stages.taken_away import write_kmex

    notes = write_kmex(subject, source, path, weights)
    return path.stat().st_size, notes


def _onnx(subject: Subject, source: PrototypeSource, path: Path) -> Made:
    from kmex_core.stages.taken_away import write_onnx

    write_onnx(subject, source, path)
    return path.stat().st_size, []


def _table(subject: Subject, source: PrototypeSource, path: Path, thumbnails: bool) -> Made:
    from kmex_core.stages.image_table import write_image_table

    _, notes = write_image_table(subject, source, path, thumbnails)
    return path.stat().st_size, notes


def _card(subject: Subject, source: PrototypeSource, path: Path) -> Made:
    from kmex_core.base.files import write_bytes
    from kmex_core.stages.taken_away import card_text

    content = card_text(subject, source).encode()
    write_bytes(path, content)
    return len(content), []


def kmex_export(model: str, source: KMeans | Version) -> JobRequest:
    """The command that writes a KMEx in one file, with its network."""
    base, version = (source.base, source.name) if isinstance(source, Version) else (source, "")
    file = Path(f"{model}.kmex")
    return job_of(
        f"export-{model}", export, model, kmex=file, weights=True, k=base.k, metric=base.metric, version=version
    )


def _report(maker: Any, subject: Subject, source: PrototypeSource, path: Path) -> Made:
    from kmex_core.base.files import write_bytes

    text, missing = maker(subject, source)
    write_bytes(path, text.encode())
    return len(text.encode()), [f"Not in the report: {part}" for part in missing]


def report_maker() -> Callable[[Subject, PrototypeSource], tuple[str, list[str]]]:
    """What makes a report: the entry point `html` of the group `REPORTS`, or in a clone, `MAKER` beside the engine.

    It takes a subject and a prototype source, and returns the text of the HTML file and what is missing in it.

    Raises:
        InputError: when there is none.
    """
    reference = next((entry.value for entry in entry_points(group=REPORTS, name="html")), MAKER)
    module, _, name = reference.partition(":")
    try:
        with _beside_the_engine():
            maker: Callable[[Subject, PrototypeSource], tuple[str, list[str]]] = getattr(
                importlib.import_module(module), name
            )
    except ModuleNotFoundError as error:
        raise InputError(
            f"The report is made by the dashboard, which is not installed beside kmex_core ({error}). Install KMEx "
            "Explorer with it."
        ) from error
    return maker


@contextlib.contextmanager
def _beside_the_engine() -> Iterator[None]:
    """Modules are looked for beside the engine first: a folder `app` of whoever calls is another program's."""
    place = str(Path(next(iter(kmex_core.__path__))).resolve().parent)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
