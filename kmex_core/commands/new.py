"""A model of one's own on images of one's own, in one command; and functions that may build networks."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base.devices import checked_device
from kmex_core.base.specs import stable_key
from kmex_core.commands._shared import (
    Bar,
    ClassColumn,
    DataRoot,
    Device,
    ImageColumn,
    Json,
    K,
    Metric,
    SkipBroken,
    about,
    answer_with,
    app,
    command_text,
    in_job,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import KMeans, numbered, per_class_words

if TYPE_CHECKING:
    from kmex_core.stages.new_model import NewRequest


@app.command()
def new(
    images: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="Your images: a folder, an archive, or any layout that is read.")
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Your model: torchvision:NAME, timm:NAME, hf:FOLDER or hf:NAME, onnx:FILE, export:FILE.pt2, or "
            "module:function.",
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its weights, if they are not its source's: safetensors or a state dict."),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The layer that gives the class scores; none for an encoder. Default: found."
        ),
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="The names of its outputs in order, with commas or in a file; none to use its encoder alone. Default: "
            "auto, by the names or the number of its outputs.",
        ),
    ] = AUTO,
    preprocess: Annotated[
        str,
        typer.Option(
            metavar="auto|imagenet|FILE", help="From a picture to its input. Default: auto, as its source says."
        ),
    ] = AUTO,
    k: K = 5,
    metric: Metric = AUTO,
    name: Annotated[str, typer.Option(help="Name of the model in the store. Default: made of its source's.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Refuse a model whose predictions are no better than guessing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and show everything, keep nothing.")] = False,
    data_root: DataRoot = "",
    class_column: ClassColumn = "",
    image_column: ImageColumn = "",
    skip_broken: SkipBroken = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model NAME.")] = False,
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Bring a model and images of your own: open, decide, check, convert.

    Prints what was found and decided at each step, asks nothing, and ends with the address of the page. A function of
    your own (module:function) runs on this machine: naming it here allows it, in the folder you are in, for the pages
    too (with --dry-run, this once). A network that was trained on other classes, or an encoder, is converted with the
    classes of your images; then there is no black box to compare KMEx with.

    Example: python -m kmex_core new --images photos --model timm:vit_tiny_patch16_224 --name mine
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.errors import InputError
        from kmex_core.base.specs import DatasetSpec
        from kmex_core.base.store import Store
        from kmex_core.networks import trust
        from kmex_core.stages.new_model import NewRequest, decided, keep
        from kmex_core.stages.new_report import described
        from kmex_core.stages.subject import Subject

        if trust.is_function(model) and not in_job():  # a page never allows a function
            (trust.allow_here if dry_run else trust.allow)(model, Path.cwd())
        started, store, place = time.perf_counter(), Store(), checked_device(device)
        spec = DatasetSpec(images, data_root, 0, class_column, skip_broken, image_column)
        request = NewRequest(
            name or default_name(model), model, spec, weights, head, classes, preprocess, command_text()
        )
        found = decided(store, request, place, bar, keeping=not dry_run)
        answer: dict[str, Any] = {
            "model": request.name,
            "steps": [dataclasses.asdict(step) for step in found.steps],
            "predicts": found.info.predicts,
            "accuracy": found.info.accuracy,
            "preprocessing": dataclasses.asdict(found.info.preprocessing),
        }
        if check and found.check is not None and found.check.at_chance:
            raise InputError(found.steps[-1].text)
        if dry_run:
            return answer | {"kept": False} | described(found, place)
        info = keep(store, found, overwrite)
        subject = Subject(store, info, found.data, place, bar)
        conversion = subject.conversion(KMeans(k, metric=metric)).get()
        return (
            answer
            | {
                "kept": True,
                "k": numbered(k),
                "metric": conversion.summary.metric,
                "accuracy_kmex": conversion.summary.accuracy_kmex,
                "test_images": conversion.summary.images,
                "seconds": round(time.perf_counter() - started, 1),
                "address": f"/?dataset={_quoted(info.dataset)}&model={info.name}&k={'auto' if k < 0 else k}",
            }
            | about(subject)
        )

    def show(answer: dict[str, Any]) -> None:
        for step in answer["steps"]:
            print(f"{step['title']}: {'Warning: ' if step['warning'] else ''}{step['text']} {step['hint']}".strip())
        if not answer["kept"]:
            print(
                f"Expected: about {answer['expected_seconds']:,.0f} seconds and "
                f"{answer['expected_megabytes']:,.0f} MB of memory for the embedding. Nothing was kept (--dry-run)."
            )
            return
        print(
            f"KMEx: {answer['accuracy_kmex']:.1%} of {answer['test_images']:,} test images are correct with "
            f"{per_class_words(k)}, {answer['metric']} metric; '{answer['model']}' is in the store after "
            f"{answer['seconds']:,.1f} s.\n"
            f"Next: python -m kmex_core app, then open {answer['address']}"
        )

    answer_with(as_json, work, show)


@app.command("trust")
def trust_(
    function: Annotated[str, typer.Argument(help="module:function, in the folder you are in or installed.")],
    as_json: Json = False,
) -> None:
    """Allow a function of your own to build networks on this machine.

    It runs whenever one of its models is loaded, on the pages too. Allow only functions that you know.

    Example: python -m kmex_core trust my_networks:make
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.networks import trust

        trust.allow(function, Path.cwd())
        return {"allowed": function, "folder": str(Path.cwd())}

    answer_with(
        as_json, work, lambda answer: print(f"{answer['allowed']} may build networks, from {answer['folder']}.")
    )


NEW, DECIDE = "new-", "decide-"  # the jobs: by their models' names, and by what is decided


def new_job(request: NewRequest, k: int) -> JobRequest:
    """Bring a model and convert it, see `new`."""
    return JobRequest(f"{NEW}{request.name}", _arguments(request, k=k, name=request.name))


def decision_job(request: NewRequest, about: str, data: str) -> JobRequest:
    """Decide what `new_job` would do, and keep nothing, whatever the model is to be called.

    Args:
        request: the model.
        about: what names its images and network, with which the job's name goes on.
        data: the data set's fingerprint: of other data it is decided anew.
    """
    arguments = _arguments(request, dry_run=True)
    return JobRequest(f"{DECIDE}{about}-{stable_key([arguments, data])}", arguments)


def _arguments(request: NewRequest, **more: Any) -> tuple[str, ...]:
    images = request.images
    return job_of(
        "",
        new,
        images.name,
        request.model,
        request.weights,
        request.head,
        request.classes,
        request.preprocess,
        data_root=images.root,
        class_column=images.class_column,
        image_column=images.image_column,
        skip_broken=images.skip_broken,
        as_json=True,
        **more,
    ).arguments


def new_again(name: str, arguments: Sequence[str]) -> JobRequest:
    """Start again what failed or was stopped."""
    return JobRequest(f"{NEW}{name}", tuple(argument for argument in arguments if argument != "--overwrite"))


def default_name(model: str) -> str:
    """A name for the store made of a source's."""
    last = re.split(r"[:/\\]", model.rstrip("/\\"))[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")[:64] or "model"


def _quoted(dataset: str) -> str:
    from urllib.parse import quote

    from kmex_core.data import registry

    return quote(registry.title(dataset), safe="")
