"""What all commands share: the program, its options, its progress bar, and how an answer or an error is shown."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.jobs import Reporter
from kmex_core.base.jsontext import write_json
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import MOST_SIDE
from kmex_core.commands._program import Program

if TYPE_CHECKING:
    from kmex_core.stages.subject import Subject

app = typer.Typer(
    cls=Program,
    help="Turn a trained image classifier into one that explains itself by prototypes (KMEx).\n\n"
    "Start with `python -m kmex_core demo`, then open the dashboard with `python -m kmex_core app`. Your own model "
    "takes two steps: `train`, then `convert`. Exit codes: 0 done, 1 failure, 2 wrong usage or input, "
    "130 stopped (Ctrl-C).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout; progress goes to stderr.")]
DataRoot = Annotated[
    str,
    typer.Option("--data-root", metavar="DIR", help="Where data sets lie (else KMEX_DATA, else data/ in the store)."),
]
ClassColumn = Annotated[
    str,
    typer.Option(
        "--class", metavar="COLUMN", help="The attribute, or other column of the data set's table, that is the class."
    ),
]
ImageSize = Annotated[
    int,
    typer.Option(
        "--image-size", min=0, max=MOST_SIDE, help="Side of the network's input. Default (0): the data set's."
    ),
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out pictures that cannot be decoded, and list them.")
]


def _device(name: str) -> str:
    """Refuse a device that cannot be used, even where the answer is in the store already; "" asks for none."""
    if not name:
        return name
    from kmex_core.base.devices import checked_device

    return checked_device(name)


Device = Annotated[
    str,
    typer.Option("--device", callback=_device, help="A torch device: cpu, cuda, … Default: a GPU if there is one."),
]
First = Annotated[int, typer.Option("--first", help="The number to start with, when one is waiting for it.")]
ModelName = Annotated[str, typer.Option("--model", metavar="NAME", help="A model in the store; `models` lists them.")]
K = Annotated[int, typer.Option("--k", min=1, help="Prototypes per class.")]
Own = Annotated[
    bool, typer.Option("--own", help="The prototypes that a ProtoPNet, FLINT or ProtoVAE has itself, not KMEx's.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier --out.")]
Runs = Annotated[
    int, typer.Option(min=1, max=1000, help="How many runs; each has seeds of its own for k-means and images.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1001, help="Seed: equal seeds give equal results.")]


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


def opened(
    model: str, data_root: str = "", skip_broken: bool = False, device: str = "", progress: Progress = silent
) -> Subject:
    """A model of the default store with the data it was trained on, see `stages.subject.subject_of`."""
    from kmex_core.base.store import Store
    from kmex_core.stages.subject import subject_of

    return subject_of(Store(), model, data_root, skip_broken, device, progress)


def about(subject: Subject, *more: str) -> dict[str, Any]:
    """What belongs beside every number: notes (`more` first), what the test split is, and what is left out."""
    data = subject.data
    return {
        "notes": [*filter(None, more), *subject.notes()],
        "test_from": data.test_from,
        "left_out": [dataclasses.asdict(item) for item in data.left_out],
    }


def answer_with(as_json: bool, work: Callable[[Bar], dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> None:
    """Do the work and show its answer; `Program` shows its errors. A job's report says how it ended."""
    job = Reporter.here()
    if job is not None and not job.begin():
        print("This job runs already, or was stopped before it began.", file=sys.stderr)
        raise typer.Exit(0)
    bar, state, why = Bar(job), "failed", ""
    try:
        if job is not None:
            job.wait_for_turn()
        answer = work(bar)
        state = "done"
    except KMExError as error:
        why = str(error)
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
            job.end(state, why)
    if as_json:
        print(write_json(answer))
    else:
        show(answer)
        for note in answer.get("notes", ()):
            print(f"Note: {note}")


def number_range(text: str) -> list[int]:
    found = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= low <= high <= 1000:
        raise InputError(f"--k {text} is no range: give FIRST:LAST, for instance 1:20.")
    return list(range(low, high + 1))
