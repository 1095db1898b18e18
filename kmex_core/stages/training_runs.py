"""Training runs: from a request to a model in the store, with a checkpoint after every epoch."""

from __future__ import annotations

import contextlib
import datetime
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import Arrays, read_description, read_file, remove_file
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.provenance import versions
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store, checked_name
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.hub import is_hub_name
from kmex_core.data.opened import dataset
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.stages.statistics import PixelStatistics
from kmex_core.stages.training_start import Start

if TYPE_CHECKING:
    import torch

    from kmex_core.models.training import Recipe

log = logging.getLogger(__name__)

BATCH = 128


@dataclass(frozen=True)
class TrainRequest:
    """A training run and the name of its model.

    Attributes:
        name: of the model.
        dataset: what it is trained on.
        backbone: the name of its network.
        recipe: the hyper-parameters.
        device: a torch device.
        command: for provenance.
        start: a network from outside, see `start_outside`; None for a backbone of this product.
    """

    name: str
    dataset: DatasetSpec
    backbone: str
    recipe: Recipe
    device: str
    command: str
    start: Start | None = None


def train(
    store: Store, request: TrainRequest, resume: bool = False, overwrite: bool = False, progress: Progress = silent
) -> ModelInfo:
    """Train a model, write a checkpoint after every epoch and the model at the end.

    Args:
        store: receives checkpoints and model.
        request: what to train.
        resume: continue from the newest checkpoint of the run with this name.
        overwrite: a model of that name may be replaced (once the new one is trained).
        progress: called after every step.

    Raises:
        InputError: when the name is taken, or there is no run to resume, or it was started with other settings.
        TrainingError: when training diverges.
        StoreError: when the store cannot be written.
    """
    from kmex_core.models import training

    name = checked_name(request.name)
    data = dataset(request.dataset, progress)
    recipe = request.recipe
    asked = {
        "dataset": data.fingerprint,
        "image_size": data.image_size,
        "backbone": request.backbone,
        "recipe": recipe.described(),
    }
    with catalogue.claimed(store, name):
        _refuse_taken(store, name, resume, overwrite)
        begin = request.start or _backbone(store, request, data, progress)
        asked |= begin.asked
        for note in begin.notes:
            log.warning("%s", note)
        network, preprocessing = begin.network, begin.preprocessing
        run, start = training.Run(network), training.compared_by_distance(network)
        if resume:
            run = _resumed(store, name, network, asked)
        run.start = start  # the seed gives the same for a resumed run

        def checkpoint(now: training.Run) -> None:
            current, other = catalogue.RUNS[(now.epoch - 1) % 2], catalogue.RUNS[now.epoch % 2]
            if now.epoch == 1:  # checkpoints of an earlier run must not be mistaken for a later epoch of this one
                remove_file(store.path(other, name))
            described = {"asked": asked, "epoch": now.epoch, "history": now.history}
            store.put(current, name, training.run_arrays(now), described)

        started = time.perf_counter()
        recordable = not begin.from_outside  # whatever such a network does in a pass
        training.fit(run, data, recipe, preprocessing, request.device, checkpoint, progress, recordable)
        scores = _scores_of(begin)
        accuracy = test_accuracy(scores, data, preprocessing, request.device, progress)
        info = ModelInfo(
            name=name,
            kind=recipe.kind,
            dataset=data.name,
            root=root_to_keep(request.dataset),
            backbone=request.backbone,
            class_names=data.class_names,
            preprocessing=preprocessing,
            accuracy=accuracy,
            made_by={
                "command": request.command,
                "recipe": recipe.described(),
                "history": run.history,
                "seconds": round(time.perf_counter() - started, 2),
                "images_per_second": round(images_per_second(run.history, len(data.split("train"))), 1),
                "device": request.device,
                "data": data.fingerprint,
                "versions": versions(),
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                **({"notes": list(begin.notes)} if begin.notes else {}),
            },
            k=recipe.k,
            options=dict(recipe.options),
            class_column=data.class_column,
            skip_broken=request.dataset.skip_broken,
            image_column=request.dataset.image_column,
            details=begin.details,
            head_path=begin.head_path,
            outputs=begin.outputs,
            class_outputs=tuple(range(begin.outputs or 0)),
        )
        catalogue.save(store, info, network)
        catalogue.remove_run(store, name)
    return info


def _backbone(store: Store, request: TrainRequest, data: ImageDataset, progress: Progress) -> Start:
    import torch

    from kmex_core.models import training

    mean, std = PixelStatistics(store, data, progress).get()
    torch.manual_seed(request.recipe.seed)
    network = training.build(request.recipe, request.backbone, len(data.class_names), data.image_size)
    preprocessing = Preprocessing.plain(data.image_size, data.channels, mean, std)
    return Start(network, preprocessing, request.recipe.imagenet)


def _scores_of(begin: Start) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network from images to class scores, whatever else it gives."""
    from kmex_core.networks import splitting

    if not begin.from_outside:
        return begin.network
    parts = splitting.split_at(begin.network, begin.head_path)
    return lambda images: parts.head(parts.encoder(images))


def unfinished(store: Store, name: str) -> list[dict[str, Any]] | None:
    """The history (see `training.Run`) of a training run that has not ended; None when there is none of that name."""
    histories = []
    for room in catalogue.RUNS:
        with contextlib.suppress(StoreError, FileNotFoundError, KeyError, TypeError):
            histories.append(list(read_description(store.path(room, name))["history"]))
    return max(histories, key=len, default=None)


def images_per_second(history: Sequence[Mapping[str, Any]], images: int) -> float:
    """How many training images pass through the network per second, the median over epochs; 0 without one.

    Args:
        history: see `training.Run`.
        images: of an epoch.
    """
    seconds = [float(epoch["seconds"]) for epoch in history]
    return images / statistics.median(seconds) if seconds and min(seconds) > 0 else 0.0


def root_to_keep(spec: DatasetSpec) -> str:
    """What a model remembers of where its data set lies: "" for the default data root, and for paths."""
    by_name = registry.registered(spec.name) or is_hub_name(spec.name)
    return str(registry.data_root(spec.root)) if spec.root and by_name else ""


def _refuse_taken(store: Store, name: str, resume: bool, overwrite: bool) -> None:
    started = catalogue.has_run(store, name)
    if started and not resume and not overwrite:
        raise InputError(
            f"A training run named '{name}' has not finished. Continue with --resume, restart with --overwrite, or "
            "choose another --name."
        )
    hint = "Choose another --name, or --overwrite it."
    catalogue.check_free(store, name, name if started or overwrite else "", hint)


def _newest_checkpoint(store: Store, name: str) -> tuple[Arrays, dict[str, Any]]:
    """The newest checkpoint of a run that is not damaged; says so when it is not the newest of all."""
    whole, damaged = [], 0
    for room in catalogue.RUNS:
        try:
            whole.append(read_file(store.path(room, name)))
        except FileNotFoundError:
            continue
        except StoreError:
            damaged += 1
    if not whole and damaged:
        raise StoreError(
            f"The checkpoints of the run '{name}' are damaged, so it cannot be resumed. Restart with "
            "--overwrite instead of --resume."
        )
    if not whole:
        raise InputError(f"There is no unfinished training run named '{name}' to resume. Start it without --resume.")
    newest = max(whole, key=lambda checkpoint: int(checkpoint[1]["epoch"]))
    if damaged:
        log.warning(
            "A checkpoint of the run '%s' is damaged: resuming from the other one, after epoch %d.",
            name,
            newest[1]["epoch"],
        )
    return newest


def _resumed(store: Store, name: str, network: Any, asked: dict[str, Any]) -> Any:
    from kmex_core.models import training
    from kmex_core.models.precision import FLOAT32

    arrays, description = _newest_checkpoint(store, name)
    if description["asked"] != asked:
        usual = {"precision": FLOAT32}  # which is not named
        before = {**usual, **description["asked"], **description["asked"]["recipe"]}
        now = {**usual, **asked, **asked["recipe"]}
        changed = [key for key in now if key != "recipe" and before.get(key) != now[key]]
        raise InputError(
            f"The run '{name}' was started with other settings ("
            + "; ".join(f"{key} was {before.get(key)}, now {now[key]}" for key in changed)
            + "). Resume it with the same settings."
        )
    return training.restore_run(network, arrays, description["epoch"], description["history"])


def test_accuracy(
    network: Callable[[torch.Tensor], torch.Tensor],
    data: ImageDataset,
    preprocessing: Preprocessing,
    device: str,
    progress: Progress,
) -> float | None:
    """The share of the test split (0…1) that a network in evaluation mode classifies correctly; None without images.

    Raises:
        InputError: when the network gives values that are not finite, from which no class follows.
    """
    import torch

    from kmex_core.data.network_input import normalise
    from kmex_core.networks.memory import in_portions

    right = seen = 0
    total = len(data.split("test"))
    with torch.inference_mode():
        for pixels, labels in data.batches("test", BATCH, preprocessing=preprocessing):
            scores = in_portions(network, normalise(pixels.to(device), preprocessing))
            if not bool(scores.isfinite().all()):
                raise InputError(
                    "The network gives values that are not finite (NaN or infinite) for test images, so they have no "
                    "predicted "
                    "class. Its weights may be too large or unfinished, or its input needs another normalisation "
                    "(--mean, --std)."
                )
            right += int((scores.argmax(1).cpu() == labels).sum())
            seen += len(labels)
            progress(Event("Measuring test accuracy", seen, total))
    return right / seen if seen else None
