"""Importing a model that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    SkipBroken,
    about,
    accuracy_text,
    answer_with,
    app,
    command_text,
    named_numbers,
    number_list,
)
from kmex_core.commands.requests import JobRequest, job_of
from kmex_core.models.kinds import BASELINES, MODEL_KINDS

if TYPE_CHECKING:
    pass


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Option(metavar="FILE", help="A safetensors file, or a saved state dict (.pt).")],
    name: Annotated[str, typer.Option(help="Name of the model in the store.")],
    kind: Annotated[str, typer.Argument(help=f"Kind of model: {joined('or', MODEL_KINDS)}.")] = "blackbox",
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="Name or path of the data set it was trained on; its classes are the network's outputs.",
        ),
    ] = "",
    backbone: Annotated[
        str, typer.Option(help="resnet20 (small) or any torchvision classification model.")
    ] = "resnet34",
    data_root: DataRoot = "",
    skip_broken: SkipBroken = False,
    class_column: ClassColumn = "",
    image_column: ImageColumn = "",
    image_size: ImageSize = 0,
    mean: Annotated[
        str,
        typer.Option(
            metavar="R,G,B", help="Channel means its input was normalised with. Default: the training split's."
        ),
    ] = "",
    std: Annotated[str, typer.Option(metavar="R,G,B", help="Channel standard deviations, as for --mean.")] = "",
    k: Annotated[int, typer.Option(min=1, help=f"Prototypes per class of {joined('and', BASELINES)}.")] = 5,
    options: Options = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Ignore tensors by name, for example 'aux.*'. Repeatable."),
    ] = None,
    device: Device = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model NAME.")] = False,
    as_json: Json = False,
) -> None:
    """Import a model that was trained elsewhere, and measure it on the test split.

    Tensor names are matched to the architecture's, without prefixes such as `module.`. Losses, metrics, auxiliary heads
    and tensors named by --ignore are ignored; any other unmatched tensor is an error. Renamed tensors are listed.
    Pickled models are refused, because reading one can run arbitrary code; save a state dict instead. A file written by
    `export` needs only --checkpoint and --name.

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
            DatasetSpec(dataset, data_root, image_size, class_column, skip_broken, image_column),
            backbone,
            k,
            named_numbers(options or []),
            number_list(mean),
            number_list(std),
            command_text(),
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
            f"matched, {len(answer['renamed'])} of them renamed."
        )
        for name, original in list(answer["renamed"].items())[:5]:
            print(f"  {original} → {name}")
        if answer["ignored"]:
            print(f"  ignored: {', '.join(answer['ignored'])}")
        print(f"{accuracy_text(answer['accuracy']).capitalize()}")
        if answer["warning"]:
            print(f"Warning: {answer['warning']}")
        print(f"Next: python -m kmex_core convert --model {answer['model']}")

    answer_with(as_json, work, show)


IMPORT = "import-"  # the jobs, by their models' names


def import_job(
    name: str,
    checkpoint: Path,
    kind: str,
    dataset: str,
    backbone: str,
    k: int,
    *,
    class_column: str = "",
    image_column: str = "",
    mean: str = "",
    std: str = "",
    ignore: Sequence[str] = (),
    skip_broken: bool = False,
) -> JobRequest:
    """Import a model, see `import_`."""
    return job_of(
        f"{IMPORT}{name}",
        import_,
        checkpoint,
        name,
        kind,
        dataset,
        backbone,
        skip_broken=skip_broken,
        class_column=class_column,
        image_column=image_column,
        mean=mean,
        std=std,
        k=k,
        ignore=list(ignore) or None,
    )


def import_again(name: str, arguments: Sequence[str]) -> JobRequest:
    """Start an import again that failed or was stopped."""
    return JobRequest(f"{IMPORT}{name}", tuple(argument for argument in arguments if argument != "--overwrite"))
