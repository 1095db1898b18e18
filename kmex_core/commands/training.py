"""Training a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmex_core.base import jobs
from kmex_core.base.devices import checked_device
from kmex_core.base.phrases import joined
from kmex_core.commands._shared import (
    Bar,
    ClassColumn,
    DataRoot,
    Device,
    ImageColumn,
    ImageSize,
    Json,
    Options,
    Seed,
    SkipBroken,
    about,
    accuracy_text,
    answer_with,
    app,
    command_text,
    named_numbers,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.models.kinds import BASELINES, MODEL_KINDS

if TYPE_CHECKING:
    pass


@app.command()
def train(
    dataset: Annotated[str, typer.Option(metavar="NAME|PATH", help="Name (see `datasets`) or path of a data set.")],
    name: Annotated[str, typer.Option(help="Name of the model in the store.")],
    kind: Annotated[str, typer.Argument(help=f"Kind of model: {joined('or', MODEL_KINDS)}.")] = "blackbox",
    backbone: Annotated[
        str,
        typer.Option(
            help="resnet20 (small), any torchvision classification model, or a network from outside: "
            "torchvision:NAME, timm:NAME, hf:FOLDER, module:function."
        ),
    ] = "resnet34",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    class_column: ClassColumn = "",
    image_column: ImageColumn = "",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training split. Default: 10 or 30 (paper).")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--lr", help="Initial learning rate. Default: 0.001 with --imagenet (paper), else 0.05; see below."
        ),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Momentum of SGD. Default: 0.5 with --imagenet (paper), else 0.9.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 penalty. Default: 0 with --imagenet, else 0.0005.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step. Default: 128, from outside 32.")] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(help="none or flip-crop. Default: flip-crop for photographs, none for digits and drawings."),
    ] = None,
    image_size: ImageSize = 0,
    k: Annotated[
        int | None, typer.Option(min=1, help=f"Prototypes per class of {joined('and', BASELINES)}. Default: 5.")
    ] = None,
    options: Options = None,
    imagenet: Annotated[
        bool,
        typer.Option(
            "--imagenet",
            help="Start from ImageNet weights (downloaded); from outside, refuse to start from random ones.",
        ),
    ] = False,
    seed: Seed = 0,
    device: Device = "",
    precision: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="float32, or bfloat16: networks compute with 16 bits and channels last, weights and losses stay "
            "float32. On recent GPUs about 1.3 times as fast; the model is another one. CPUs are slower with it.",
        ),
    ] = "float32",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run NAME from its last checkpoint.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model NAME once the new one is trained.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a classifier to convert: a black box or a self-explainable baseline.

    Black boxes are trained by SGD with momentum, the others by Adam, with a cosine schedule (paper, A.2 and Table 10).
    `--set` changes the options of a prototypical model; an unknown NAME lists them. A checkpoint is written after every
    epoch. To continue an interrupted run, repeat the command with --resume.

    A network from outside (timm:NAME, say) is trained as a black box, by Adam: from its source's weights if they are
    cached or can be downloaded (learning rate 0.00005), else from random ones (0.0005). A function of your own needs
    `trust` first; with --imagenet its weights count as trained.

    Example: python -m kmex_core train --dataset mnist --backbone resnet18 --epochs 1 --name mnist18
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.specs import DatasetSpec
        from kmex_core.base.store import Store
        from kmex_core.data.opened import dataset as opened_dataset
        from kmex_core.models.training import default_recipe
        from kmex_core.stages.subject import Subject
        from kmex_core.stages.training_runs import TrainRequest
        from kmex_core.stages.training_runs import train as train_model
        from kmex_core.stages.training_start import start_outside

        spec = DatasetSpec(dataset, data_root, image_size, class_column, skip_broken, image_column)
        data = opened_dataset(spec, bar)
        store = Store()
        start = start_outside(
            store,
            name,
            backbone,
            data,
            kind=kind,
            seed=seed,
            image_size=image_size,
            trained=imagenet,
            resume=resume,
            progress=bar,
        )
        recipe = default_recipe(
            data,
            imagenet if start is None else start.trained,
            kind,
            outside=start is not None,
            k=k,
            options=named_numbers(options or []) or None,
            epochs=epochs,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size,
            augmentation=augmentation,
            seed=seed,
            precision=precision,
        )
        request = TrainRequest(
            name,
            spec,
            backbone,
            recipe,
            checked_device(device),
            command_text(),
            start,
        )
        info = train_model(store, request, resume, overwrite, bar)
        return {
            "model": info.name,
            "kind": info.kind,
            "dataset": info.dataset,
            "backbone": info.backbone,
            "epochs": recipe.epochs,
            "seed": seed,
            "accuracy": info.accuracy,
            "train_accuracy": info.made_by["history"][-1]["accuracy"],
            "seconds": info.made_by["seconds"],
            "images_per_second": info.made_by["images_per_second"],
            **({} if start is None else {"learning_rate": recipe.learning_rate, "notes": list(start.notes)}),
        } | about(Subject(store, info, data))

    def show(answer: dict[str, Any]) -> None:
        print(
            f"Trained '{answer['model']}' ({answer['backbone']} on {answer['dataset']}) in "
            f"{answer['seconds']:.0f} s: {accuracy_text(answer['accuracy'])}\n"
            f"Next: python -m kmex_core convert --model {answer['model']}"
        )

    answer_with(as_json, work, show)


TRAINING = f"{jobs.TRAINING}-"  # the jobs, by their models' names


def training_job(
    name: str,
    dataset: str,
    kind: str,
    backbone: str,
    seed: int,
    *,
    class_column: str = "",
    image_column: str = "",
    epochs: int | None = None,
    learning_rate: float | None = None,
    k: int | None = None,
    imagenet: bool = False,
    skip_broken: bool = False,
) -> JobRequest:
    """Train a model, see `train`."""
    return job_of(
        f"{TRAINING}{name}",
        train,
        dataset,
        name,
        kind,
        backbone,
        skip_broken=skip_broken,
        class_column=class_column,
        image_column=image_column,
        epochs=epochs,
        learning_rate=learning_rate,
        k=k,
        imagenet=imagenet,
        seed=seed,
    )


def training_again(name: str, arguments: Sequence[str], resume: bool) -> JobRequest:
    """Start a training again that failed or was stopped.

    Args:
        name: of the model.
        arguments: of the job.
        resume: whether it has a checkpoint to continue from.
    """
    rest = [argument for argument in arguments if argument not in ("--resume", "--overwrite")]
    return JobRequest(f"{TRAINING}{name}", (*rest, *(["--resume"] if resume else [])))
