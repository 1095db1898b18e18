"""Import of models trained elsewhere."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kmex_core.base.chance import above_chance, chance_accuracy
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import read_file
from kmex_core.base.progress import Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store, checked_name
from kmex_core.data import registry
from kmex_core.data.opened import dataset
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.info import TEST_IS_TRAINING, ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.networks.file_kinds import safetensors_header
from kmex_core.stages.statistics import PixelStatistics
from kmex_core.stages.subject import dataset_of
from kmex_core.stages.training_runs import root_to_keep, test_accuracy

MOST_PROTOTYPES = 1000


@dataclass(frozen=True)
class ImportRequest:
    """A model to import.

    Attributes:
        name: its name in the store.
        kind: a key of `MODEL_KINDS`.
        checkpoint: the file with its weights.
        dataset: what it was trained on; its name may be empty for a file that this product exported.
        backbone: its architecture.
        k: prototypes per class of a prototypical model.
        options: its hyper-parameters; defaults for missing ones.
        mean, std: the normalisation of its input, per channel, for pixels 0…1; the training split's statistics when
            empty.
        command: the command for provenance.
        ignore: patterns of the checkpoint's names to leave out.
    """

    name: str
    kind: str
    checkpoint: Path
    dataset: DatasetSpec
    backbone: str
    k: int = 5
    options: Mapping[str, float] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    command: str = ""
    ignore: tuple[str, ...] = ()


def import_model(
    store: Store, request: ImportRequest, overwrite: bool = False, device: str = "cpu", progress: Progress = silent
) -> tuple[ModelInfo, dict[str, Any]]:
    """Import a model into the store, and measure its accuracy on the test split.

    Returns:
        The model, and how the checkpoint fitted: `matched` (a number), `renamed`, `kept`, `ignored`, and `warning`,
        which is a sentence when its accuracy is that of chance, else "".

    Raises:
        InputError: when the name is taken, the file cannot be used, or its weights do not fit the architecture and the
            data set's classes.
        StoreError: when the store cannot be written.
    """
    name = checked_name(request.name)
    MODEL_KINDS.named(request.kind)
    with catalogue.claimed(store, name):
        catalogue.check_free(store, name, name if overwrite else "", "Choose another name, or overwrite it.")
        imported = _imported(store, name, request, device, progress)
        catalogue.remove_run(store, name)  # it can only exist to be overwritten
    return imported


def _imported(
    store: Store, name: str, request: ImportRequest, device: str, progress: Progress
) -> tuple[ModelInfo, dict[str, Any]]:
    from kmex_core.networks.checkpoints import read_checkpoint
    from kmex_core.networks.matching import classes_in, converted, match

    what = f"The weights in {request.checkpoint.name}"
    info = _exported(request.checkpoint) or _described(store, request, progress)
    if request.dataset.name:
        column = request.dataset.class_column or info.class_column
        info = replace(
            info,
            dataset=request.dataset.name,
            root=root_to_keep(request.dataset),
            class_column=column,
            skip_broken=request.dataset.skip_broken,
            image_column=request.dataset.image_column or info.image_column,
        )
    elif info.dataset not in registry.DATASETS:
        raise InputError(
            f"{request.checkpoint.name} was trained on '{info.dataset}': pass its location with --dataset."
        )
    info = replace(info, name=name, embedded=False)
    data = dataset_of(info, request.dataset.root)
    info = replace(info, dataset=data.name, class_column=data.class_column)
    state = read_checkpoint(request.checkpoint)
    network = catalogue.build(info)
    fitted = match(state, network, request.ignore, getattr(network, "aliases", {}))
    classes = classes_in(fitted, network, len(data.class_names), what)
    if classes is not None:
        raise InputError(
            f"The checkpoint has {classes} classes, but data set '{data.name}' has {len(data.class_names)}: it was "
            "trained on other data. Pass the data set it was trained on."
        )
    weights = converted(fitted.state, network, what)
    catalogue.load_state(network, weights, what)
    network.eval().to(device)
    accuracy = test_accuracy(network, data, info.preprocessing, device, progress)
    report = {
        "matched": fitted.matched,
        "renamed": fitted.renamed,
        "kept": list(fitted.defaults),
        "ignored": list(fitted.ignored),
        "warning": chance_warning(accuracy, data),
    }
    # what was trained by this product on these data has not seen what it held out
    trained_here = "recipe" in info.made_by and info.made_by.get("data") == data.fingerprint
    made_by = {
        **info.made_by,
        "imported": {"file": request.checkpoint.name, "command": request.command, **report},
        "data": data.fingerprint,
        TEST_IS_TRAINING: data.test_from == "held out" and not (trained_here and not info.caveat),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    info = replace(info, accuracy=accuracy, made_by=made_by)
    catalogue.save(store, info, network)
    return info, report


def _exported(path: Path) -> ModelInfo | None:
    """What a file that this product exported says of itself; None for any other.

    Raises:
        InputError: when its content does not match its digest, or what it says of itself.
    """
    from kmex_core.networks.checkpoints import MOST_BYTES, MOST_HEADER

    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        header = safetensors_header(path, MOST_HEADER)
    except OSError:
        return None
    notes = header.get("__metadata__") if header else None
    if not isinstance(notes, dict) or not {"kmex", "digest"} & set(notes):
        return None
    try:
        described = read_file(path)[1]
    except StoreError as error:
        raise InputError(f"{error} It was damaged after the export: export or copy it again.") from error
    if "model" not in described:
        return None
    invalid = InputError(
        f"{path} has an invalid description (kind, sizes, normalisation). It was not written by `export`, or was "
        "changed since."
    )
    try:
        info = catalogue.info_of(described, "imported", path)
    except StoreError as error:
        raise invalid from error
    numbers = [*(info.options.values() if isinstance(info.options, dict) else [None])]
    fine = (
        info.kind in MODEL_KINDS
        and all(
            isinstance(text, str)
            for text in (
                info.backbone,
                info.dataset,
                info.root,
                info.class_column,
                info.image_column,
                *info.class_names,
            )
        )
        and all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        and type(info.k) is int
        and 0 <= info.k <= MOST_PROTOTYPES
        and isinstance(info.made_by, dict)
        and isinstance(info.skip_broken, bool)
    )
    if not fine:
        raise invalid
    return replace(info, root="")


def _described(store: Store, request: ImportRequest, progress: Progress) -> ModelInfo:
    from kmex_core.models.baseline import checked_options
    from kmex_core.networks.architectures import source_of

    if not request.dataset.name:
        raise InputError("Name the data set that the model was trained on (--dataset): its classes are the outputs.")
    if source_of(request.backbone) is not None:
        raise InputError(
            f"'{request.backbone}' is a network from outside, whose source also says its preprocessing: bring it with "
            f"`python -m kmex_core new --images {request.dataset.name} --model {request.backbone} --weights "
            f"{request.checkpoint.name}`."
        )
    data = dataset(request.dataset)
    for given, what in ((request.mean, "mean"), (request.std, "standard deviation")):
        if given and len(given) != data.channels:
            raise InputError(f"Expected {data.channels} value(s) for the {what}, one per channel; got {len(given)}.")
    if any(value <= 0 for value in request.std):
        raise InputError(f"Expected standard deviations above 0, got {', '.join(map(str, request.std))}.")
    mean, std = request.mean, request.std
    if not mean or not std:
        measured = PixelStatistics(store, data, progress).get()
        mean, std = mean or measured[0], std or measured[1]
    black_box = request.kind == "blackbox"
    return ModelInfo(
        name=request.name,
        kind=request.kind,
        dataset=request.dataset.name,
        root="",
        backbone=request.backbone,
        class_names=data.class_names,
        preprocessing=Preprocessing.plain(data.image_size, data.channels, mean, std),
        accuracy=None,
        made_by={},
        k=0 if black_box else request.k,
        options={} if black_box else checked_options(MODEL_KINDS[request.kind].load(), request.options),
        class_column=data.class_column,
        skip_broken=request.dataset.skip_broken,
        image_column=request.dataset.image_column,
    )


def chance_warning(accuracy: float | None, data: registry.ImageDataset) -> str:
    """What to say of an accuracy that guessing would reach, too; "" for any above that.

    Guessing is right on 1/C of the images, or on the share of the largest class; see `base.chance`.
    """
    labels = data.split("test").labels
    if accuracy is None or not len(labels):
        return ""
    guess = chance_accuracy(labels, len(data.class_names))
    if above_chance(accuracy, guess, len(labels)):
        return ""
    return (
        f"{accuracy:.1%} of the test images are correct, hardly more than by chance ({guess:.1%}). Usual "
        "causes: another normalisation than in training (--mean, --std), another order of the classes, another image "
        "size (--image-size), or weights that were never trained on these classes."
    )
