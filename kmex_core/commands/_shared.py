"""What all commands share: the program, its options, its progress bar, and how a result is shown."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from kmex_core.base.errors import InputError, KMExError, UndecidedError
from kmex_core.base.jobs import Reporter
from kmex_core.base.jsontext import write_json
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import MOST_SIDE
from kmex_core.commands._program import MODULE, Program
from kmex_core.models.kinds import TITLES
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import SUGGESTED, KMeans, PrototypeSource, Version, edited_note
from kmex_core.prototypes.types import fewer_prototypes
from kmex_core.relevance.catalogue import DEFAULT_MAPS, METHODS, TARGETS, WITHOUT_GRADIENTS, MapKind

if TYPE_CHECKING:
    from kmex_core.base.store import Store
    from kmex_core.metrics.types import Evaluation
    from kmex_core.stages.evaluation import ModelRun
    from kmex_core.stages.subject import Subject

app = typer.Typer(
    cls=Program,
    help="Turn a trained image classifier into a self-explainable model based on prototypes (KMEx).\n\n"
    "Start with `python -m kmex_core demo`, then open the dashboard with `python -m kmex_core app`. For a model of "
    "your own: `train` or `import`, then `convert`. Exit codes: 0 success, 1 failure, 2 invalid usage or input, "
    "130 interrupted (Ctrl-C).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout; progress goes to stderr.")]
DataRoot = Annotated[
    str,
    typer.Option(
        "--data-root", metavar="DIR", help="Directory of the data sets. Default: KMEX_DATA, else data/ in the store."
    ),
]
ClassColumn = Annotated[
    str,
    typer.Option(
        "--class",
        "--label-column",
        metavar="COLUMN",
        help="Attribute or other column of the data set's table to use as the class; folder:2 is the second folder of "
        "each picture's path.",
    ),
]
ImageColumn = Annotated[
    str,
    typer.Option(
        "--image-column",
        metavar="COLUMN",
        help="Column of the data set's table that has the images, or names their files. Default: found by type and "
        "name.",
    ),
]
ImageSize = Annotated[
    int,
    typer.Option(
        "--image-size", min=0, max=MOST_SIDE, help="Side of the network's input in pixels. Default (0): the data set's."
    ),
]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Skip images that cannot be decoded, and list them.")]


def _device(name: str) -> str:
    """Refuse a device that cannot be used, even where the result is already stored; "" asks for none."""
    if not name:
        return name
    from kmex_core.base.devices import checked_device

    return checked_device(name)


Device = Annotated[
    str,
    typer.Option("--device", callback=_device, help="Torch device: cpu, cuda, … Default: a GPU if available."),
]
First = Annotated[int, typer.Option("--first", help="Number of prototypes per class to start with.")]
ModelName = Annotated[str, typer.Option("--model", metavar="NAME", help="A model in the store (see `models`).")]


def _number_of_prototypes(text: str | int) -> int:
    """`--k`: 1 or more, or "auto" for `SUGGESTED`."""
    if text == AUTO:
        return SUGGESTED
    if not str(text).isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"Expected 1 or more, or {AUTO}, got {text}.")
    return int(text)


K = Annotated[
    int,
    typer.Option(
        "--k",
        parser=_number_of_prototypes,
        metavar="N|auto",
        help="Prototypes per class, or auto: the number that the sweep suggests for each class.",
    ),
]
Metric = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Metric of the embedding that KMEx uses: whitened, euclidean (as published), cosine, or auto: whitened "
        "unless Euclidean is more accurate on held-out images.",
    ),
]
Own = Annotated[bool, typer.Option("--own", help=f"Use the built-in prototypes of a {TITLES} instead of KMEx's.")]
SavedVersion = Annotated[
    str,
    typer.Option(
        "--version",
        metavar="NAME",
        help="Use the edited prototypes of a saved version (see `versions`) instead of k-means.",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=NUMBER", help="Set an option of a prototypical model. Repeatable."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")]
Runs = Annotated[
    int,
    typer.Option(
        min=1, max=1000, help="Number of runs, each with its own seed for k-means and for the choice of images."
    ),
]
MetricNames = Annotated[str, typer.Option(metavar="NAME,…", help="Comma-separated metrics. Default: all.")]
Target = Annotated[str, typer.Option(metavar="NAME", help=f"What relevance maps explain: {', '.join(TARGETS)}.")]
Method = Annotated[str, typer.Option(metavar="NAME", help=f"How relevance maps are made: {', '.join(METHODS)}.")]
MethodOrDefault = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME",
        help=f"How relevance maps are made: {', '.join(METHODS)}. Default: {DEFAULT_MAPS.method}, or "
        f"{WITHOUT_GRADIENTS.method} for a network without gradients (ONNX).",
    ),
]
Images = Annotated[int, typer.Option(min=1, help="Number of test images for the metrics on relevance maps.")]
KRange = Annotated[str, typer.Option("--k", metavar="FIRST:LAST", help="Range of prototypes per class.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**32 - 1001, help="Random seed; equal seeds give equal results.")
]


class Bar:
    """A progress bar on stderr, one line per stage; in a job (see `base.jobs`) the page's progress as well."""

    def __init__(self, job: Reporter | None = None) -> None:
        self._job = job
        self._bar: tqdm[Any] | None = None
        self._place: tuple[str, str] | None = None

    def __call__(self, event: Event) -> None:
        if self._job is not None:
            self._job(event)
        if self._bar is None or event.place != self._place:
            self.close()
            self._place = event.place
            self._bar = tqdm(total=event.total or None, file=sys.stderr, mininterval=0.5, dynamic_ncols=True)
        self._bar.set_description(event.text, refresh=False)
        self._bar.update(event.done - self._bar.n)

    def close(self) -> None:
        """Finish the current line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def open_subject(
    model: str, data_root: str = "", skip_broken: bool = False, device: str = "", progress: Progress = silent
) -> Subject:
    """A model of the default store with the data it was trained on, see `stages.subject.subject_of`."""
    from kmex_core.base.store import Store
    from kmex_core.stages.subject import subject_of

    return subject_of(Store(), model, data_root, skip_broken, device, progress)


def embedding_folder(name: str) -> Path:
    """The folder that `--embeddings` names: of a sharded embedding of that name in the default store, or a path."""
    from kmex_core.base.paths import user_path
    from kmex_core.base.store import Store
    from kmex_core.scale.sharded import MANIFEST, ROOM

    own = Store().root / ROOM / name
    return own if re.fullmatch(r"[\w-][\w.-]*", name) and (own / MANIFEST).is_file() else user_path(name)


def source_of(
    subject: Subject, k: int, seed: int, metric: str, own: bool = False, version: str = ""
) -> PrototypeSource:
    """The prototypes that `--k`, `--own` or `--version` choose, see `stages.versions.source_of`."""
    from kmex_core.stages import versions

    return versions.source_of(subject, k, seed, metric, own, version)


def source_options(source: PrototypeSource, seeded: bool = False) -> dict[str, Any]:
    """The options that choose a source, for `requests.job_of`; with `seeded`, the seed of k-means, too."""
    if isinstance(source, Version):
        return {"version": source.name}
    if not isinstance(source, KMeans):
        return {"own": True}
    return {"k": source.k, "metric": source.metric, **({"seed": source.seed} if seeded else {})}


def about(subject: Subject, *more: str) -> dict[str, Any]:
    """What accompanies every number: notes (`more` first), the origin of the test split, and the images left out."""
    data = subject.data
    return {
        "notes": [*filter(None, more), *subject.notes()],
        "test_from": data.test_from,
        "left_out": [dataclasses.asdict(item) for item in data.left_out],
    }


def answer_with(as_json: bool, work: Callable[[Bar], dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> None:
    """Do the work and print its answer; `Program` prints its errors. A job also reports how it ended."""
    job = Reporter.of_this_process()
    if job is not None and not job.begin():
        print("This job is already running, or was stopped before it started.", file=sys.stderr)
        raise typer.Exit(0)
    bar, state, why, undecided = Bar(job), "failed", "", UndecidedError("", "", ())
    try:
        if job is not None:
            job.wait_for_turn()
        answer = work(bar)
        bar.close()
        _print(answer, as_json, show)
        sys.stdout.flush()  # the log of a job that is done has its answer
        state = "done"
    except KMExError as error:
        why = str(error)
        undecided = error if isinstance(error, UndecidedError) else undecided
        raise
    except KeyboardInterrupt:
        state = "stopped"
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise
    finally:
        bar.close()
        if job is not None:
            job.end(state, why, undecided.option, undecided.choices)


def _print(answer: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        print(write_json(answer))
        return
    show(answer)
    for note in answer.get("notes", ()):
        print(f"Note: {note}")


def number_range(text: str) -> list[int]:
    """The numbers of "FIRST:LAST", or the one of "N".

    Raises:
        InputError: unless they ascend from at least 1 to at most 1000.
    """
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 1000:
        raise InputError(f"Invalid --k '{text}': expected FIRST:LAST, for example 1:20.")
    return list(range(low, high + 1))


def prototype_note(subject: Subject, source: PrototypeSource) -> str:
    """What to know about results on the prototypes: classes with fewer than requested of k-means, what was edited in a
    version, or a caveat about built-in ones; "" for nothing."""
    if isinstance(source, Version):
        return edited_note(source, subject.prototypes(source), subject.info.class_names)
    if not isinstance(source, KMeans):
        return subject.info.prototype_caveat
    return fewer_prototypes(subject.prototypes(source), subject.info.class_names, source.k)


def open_subjects(
    store: Store, names: Sequence[str], root: str, skip_broken: bool, device: str, bar: Bar
) -> list[Subject]:
    """Models with the data that the first was trained on."""
    from kmex_core.models import catalogue
    from kmex_core.stages.subject import subject_of

    first = subject_of(store, names[0], root, skip_broken, device, bar)
    return [first, *(dataclasses.replace(first, info=catalogue.describe(store, name)) for name in names[1:])]


def evaluate_sources(
    subjects: list[Subject],
    metrics: str,
    of: Sequence[PrototypeSource],
    seeds: range,
    images: int,
    maps: MapKind,
    run_of: Callable[[Subject, PrototypeSource, int, int, MapKind], ModelRun] | None = None,
) -> tuple[list[Evaluation], dict[str, Any]]:
    """An evaluation per prototype source, and what accompanies them (see `about`).

    Args:
        subjects, seeds, images, maps, run_of: see `stages.evaluation.evaluate`.
        metrics: comma-separated names; "" for all.
        of: the prototype sources.
    """
    from kmex_core.metrics.catalogue import METRICS
    from kmex_core.stages.evaluation import evaluate

    names = [name.strip() for name in metrics.split(",") if name.strip()] or list(METRICS)
    evaluations = [evaluate(subjects, source, list(seeds), images, names, maps, run_of) for source in of]
    few = [prototype_note(subjects[0], source.seeded(seeds[0])) for source in of]
    return evaluations, about(subjects[0], *few)


def in_job() -> bool:
    """Whether a page started this process."""
    return Reporter.of_this_process() is not None


def command_text() -> str:
    """The command line of this process, to be kept with what it makes."""
    return shlex.join([*MODULE.split(), *sys.argv[1:]])


def accuracy_text(accuracy: float | None) -> str:
    """An accuracy in words."""
    return "accuracy not measured." if accuracy is None else f"accuracy {accuracy:.2%} on the test split."


def number_list(text: str) -> tuple[float, ...]:
    """Comma-separated numbers; none for "".

    Raises:
        InputError: for anything else.
    """
    try:
        return tuple(float(value) for value in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"Expected comma-separated numbers, got '{text}'.") from None


def named_numbers(pairs: list[str] | None) -> dict[str, float]:
    """The numbers of NAME=NUMBER pairs by name.

    Raises:
        InputError: for anything else.
    """
    numbers = {}
    for pair in pairs or ():
        name, _, value = pair.partition("=")
        try:
            numbers[name] = float(value)
        except ValueError:
            raise InputError(f"Expected NAME=NUMBER, got '{pair}'.") from None
    return numbers
