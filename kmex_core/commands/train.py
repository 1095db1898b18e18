"""Commands that make models: train and import."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.commands._shared import (
    Bar,
    ClassColumn,
    DataRoot,
    Device,
    ImageSize,
    Json,
    Seed,
    SkipBroken,
    about,
    answer_with,
    app,
)


@app.command()
def train(
    dataset: Annotated[str, typer.Option(metavar="NAME|PATH", help="A data set by name (see `datasets`) or by path.")],
    name: Annotated[str, typer.Option(help="What to call the model in the store.")],
    kind: Annotated[str, typer.Argument(help="What to train: blackbox, protopnet, flint or protovae.")] = "blackbox",
    backbone: Annotated[
        str, typer.Option(help="resnet20 (small) or any torchvision classification model.")
    ] = "resnet34",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    class_column: ClassColumn = "",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training split. Default: 10 or 30 (paper).")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--lr", help="Learning rate at the start. Default: 0.001 with --imagenet (paper), else 0.05."),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Of SGD. Default: 0.5 with --imagenet (paper), else 0.9.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="L2 penalty. Default: 0 with --imagenet, else 0.0005.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step. Default: 128.")] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(help="none or flip-crop. Default: flip-crop for photographs, none for digits and drawings."),
    ] = None,
    image_size: ImageSize = 0,
    k: Annotated[
        int | None, typer.Option(min=1, help="Prototypes per class of protopnet, flint and protovae. Default: 5.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A loss weight or stage of the kind, as often as needed."),
    ] = None,
    imagenet: Annotated[bool, typer.Option("--imagenet", help="Start from ImageNet weights (downloaded).")] = False,
    seed: Seed = 0,
    device: Device = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run NAME.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model NAME when the new one is trained.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a classifier, to be converted afterwards: a black box, or ProtoPNet, FLINT or ProtoVAE.

    A black box by SGD with momentum, the others by Adam, with a cosine schedule (paper, A.2 and Table 10). `--set`
    changes what a prototypical model has of its own; an unknown NAME lists them. A checkpoint is written after every
    epoch: when a run is stopped, give the same command with --resume, and it goes on exactly where it was.

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

        spec = DatasetSpec(dataset, data_root, image_size, class_column, skip_broken)
        data = opened_dataset(spec, bar)
        recipe = default_recipe(
            data,
            imagenet,
            kind,
            k=k,
            options=_numbers(options or []) or None,
            epochs=epochs,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_size=batch_size,
            augmentation=augmentation,
            seed=seed,
        )
        request = TrainRequest(
            name,
            spec,
            backbone,
            recipe,
            checked_device(device),
            shlex.join(["python", "-m", "kmex_core", *sys.argv[1:]]),
        )
        store = Store()
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
        } | about(Subject(store, info, data))

    def show(answer: dict[str, Any]) -> None:
        print(
            f"Trained '{answer['model']}' ({answer['backbone']} on {answer['dataset']}) in "
            f"{answer['seconds']:.0f} s: {_right(answer['accuracy'])}\n"
            f"Next: python -m kmex_core convert --model {answer['model']}"
        )

    answer_with(as_json, work, show)


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Option(metavar="FILE", help="A safetensors file, or a saved state dict (.pt).")],
    name: Annotated[str, typer.Option(help="What to call the model in the store.")],
    kind: Annotated[str, typer.Argument(help="What it is: blackbox, protopnet, flint or protovae.")] = "blackbox",
    dataset: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="What it was trained on. Its classes are the network's outputs.")
    ] = "",
    backbone: Annotated[
        str, typer.Option(help="resnet20 (small) or any torchvision classification model.")
    ] = "resnet34",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    class_column: ClassColumn = "",
    image_size: ImageSize = 0,
    mean: Annotated[
        str, typer.Option(metavar="R,G,B", help="What its input was normalised with. Default: the training split's.")
    ] = "",
    std: Annotated[str, typer.Option(metavar="R,G,B", help="As --mean: the standard deviations.")] = "",
    k: Annotated[int, typer.Option(min=1, help="Prototypes per class of protopnet, flint and protovae.")] = 5,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="What the kind has of its own; see `train`.")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out tensors by name, as often as needed: 'aux.*', 'loss*'."),
    ] = None,
    device: Device = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model NAME.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a model that was trained elsewhere into the store, and measure it on the test split.

    Names are matched to the architecture's, without prefixes such as `module.`. Losses, metrics and auxiliary heads are
    left out, and what --ignore names; what else has no place is refused, and what was renamed is said. A pickled whole
    model is refused, because reading one can run any code. A file that `export` wrote needs nothing but --checkpoint
    and --name.

    Example: python -m kmex_core import --checkpoint weights.pt --backbone resnet18 --dataset mnist --name mine
    """

    def work(bar: Bar) -> dict[str, Any]:
        from kmex_core.base.specs import DatasetSpec
        from kmex_core.base.store import Store
        from kmex_core.stages.importing import ImportRequest, import_model
        from kmex_core.stages.subject import Subject, dataset_of

        request = ImportRequest(
            name,
            kind,
            checkpoint,
            DatasetSpec(dataset, data_root, image_size, class_column, skip_broken),
            backbone,
            k,
            _numbers(options or []),
            _values(mean),
            _values(std),
            shlex.join(["python", "-m", "kmex_core", *sys.argv[1:]]),
            tuple(ignore or ()),
        )
        store = Store()
        info, report = import_model(store, request, overwrite, checked_device(device), bar)
        return {
            "model": info.name,
            "kind": info.kind,
            "dataset": info.dataset,
            "backbone": info.backbone,
            "classes": len(info.class_names),
            "accuracy": info.accuracy,
            **report,
        } | about(Subject(store, info, dataset_of(info, data_root)))

    def show(answer: dict[str, Any]) -> None:
        print(
            f"Imported '{answer['model']}' ({answer['backbone']} on {answer['dataset']}): {answer['matched']} tensors "
            f"have a place, {len(answer['renamed'])} of them by another name."
        )
        for here, there in list(answer["renamed"].items())[:5]:
            print(f"  {there} is {here} here")
        if answer["ignored"]:
            print(f"  left out: {', '.join(answer['ignored'])}")
        print(_right(answer["accuracy"]))
        if answer["warning"]:
            print(f"Warning: {answer['warning']}")
        print(f"Next: python -m kmex_core convert --model {answer['model']}")

    answer_with(as_json, work, show)


def _right(accuracy: float | None) -> str:
    return "accuracy not measured." if accuracy is None else f"{accuracy:.2%} of the test images are right."


def _values(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"'{text}' are no numbers with commas between them.") from None


def _numbers(pairs: list[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"'{pair}' is no NAME=VALUE with a number.") from None
    return found
