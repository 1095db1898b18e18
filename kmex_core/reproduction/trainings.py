"""Trainings of the paper's models: a list of them, on a GPU several at once, and how fast this machine is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kmex_core.base.errors import InputError, TrainingError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.reproduction import recipes
from kmex_core.reproduction.parallel import Trained, run_all
from kmex_core.reproduction.plan import BLACK_BOX, Training, title_of
from kmex_core.stages.training_runs import TrainRequest, train

MEASURED = 4.0  # seconds of a training, for its speed
LEAST_STEPS = 3
Finished = Callable[[Training, ModelInfo | str], None]


@dataclass(frozen=True, eq=False)
class Workshop:
    """What trainings need.

    Attributes:
        store: receives the models.
        data: the data sets that are there, by name.
        root: the data root.
        device: a torch device.
        command: for provenance.
        progress: called after every step; it may raise to stop.
        until: by `time.monotonic`, when no more is begun.
        imagenet: whether trainings start from ImageNet weights.
    """

    store: Store
    data: Mapping[str, ImageDataset]
    root: str
    device: str
    command: str
    progress: Progress = silent
    until: float = float("inf")
    imagenet: bool = True

    def spec(self, name: str) -> DatasetSpec:
        """Where a data set was opened.

        Raises:
            InputError: when it is gone.
        """
        spec = recipes.spec_of(name, self.root)
        if spec is None:
            raise InputError(f"The files of {recipes.PAPER_DATA[name].title} have been removed since they were opened.")
        return spec

    def reporting(self, training: Training) -> Progress:
        """Progress that names the training."""
        of = f"{title_of(training.kind, training.dataset)}, run {training.run + 1}"

        def report(event: Event) -> None:
            self.progress(replace(event, group=", ".join(filter(None, (of, event.group)))))

        return report


def train_all(workshop: Workshop, trainings: Sequence[Training], finished: Finished) -> None:
    """Train models, on a GPU several at once; those that are in the store are not trained again.

    Trainings that were interrupted continue after their last whole epoch. None begins when the time is over; on a GPU
    those that run are stopped then, and keep their last epochs.

    Args:
        workshop: what they need.
        trainings: in this order.
        finished: called with each training as soon as its model is there, and with the model or why there is none.

    Raises:
        InputError: for a model of this name that is of other data, or a training that began with other settings.
        StoreError: when the store cannot be written.
    """
    known = catalogue.known_names(workshop.store)
    for training in trainings:
        if training.name in known:
            finished(training, _checked(workshop, training))
    missing = [training for training in trainings if training.name not in known]
    (_side_by_side if _on_card(workshop.device) else _one_by_one)(workshop, missing, finished)


def _on_card(device: str) -> bool:
    import torch

    return torch.device(device).type == "cuda"


def _one_by_one(workshop: Workshop, trainings: Sequence[Training], finished: Finished) -> None:
    for training in trainings:
        if time.monotonic() >= workshop.until:
            return
        begun = catalogue.has_run(workshop.store, training.name)
        report, request = workshop.reporting(training), _request(workshop, training)
        try:
            info = train(workshop.store, request, resume=begun, progress=report)
        except TrainingError as error:
            finished(training, _failure(training, str(error)))
        else:
            finished(training, info)


class _TimeIsUp(Exception):
    """No more steps are taken."""


def _side_by_side(workshop: Workshop, trainings: Sequence[Training], finished: Finished) -> None:
    by_name = {training.name: training for training in trainings}

    def report(event: Event) -> None:
        if time.monotonic() >= workshop.until:
            raise _TimeIsUp
        workshop.progress(event)

    def ended(trained: Trained) -> None:
        training = by_name[trained.name]
        finished(training, _failure(training, trained.failure) if trained.info is None else trained.info)

    requests = [_request(workshop, training) for training in trainings]
    with contextlib.suppress(_TimeIsUp):
        run_all(requests, workshop.device, workshop.store, progress=report, finished=ended)


def _failure(training: Training, why: str) -> str:
    return f"{title_of(training.kind, training.dataset)} could not be trained: {why}"


def _checked(workshop: Workshop, training: Training) -> ModelInfo:
    """The model of a training that is in the store, if it is of the same data."""
    info, data = catalogue.describe(workshop.store, training.name), workshop.data[training.dataset]
    before = str(info.made_by.get("data", ""))
    changed = registry.comparable(before, data.fingerprint) and before != data.fingerprint
    if changed or info.kind != training.kind or info.class_names != data.class_names:
        raise InputError(
            f"The model '{info.name}' in the store is of another kind, or of other images than {data.name} has now. "
            f"Delete it to train it again: python -m kmex_core delete --model {info.name}"
        )
    return info


def _request(workshop: Workshop, training: Training) -> TrainRequest:
    data, device = workshop.data[training.dataset], workshop.device
    recipe = recipes.recipe(
        data, training.dataset, training.kind, training.epochs, training.run, workshop.imagenet, device
    )
    spec = workshop.spec(training.dataset)
    return TrainRequest(training.name, spec, training.backbone, recipe, device, workshop.command)


class _Enough(Exception):
    """The first steps of a training have been measured."""


def speed(data: ImageDataset, name: str, backbone: str, device: str) -> float:
    """How many images per second the first steps of a black box's training take.

    Args:
        data: what it is trained on.
        name: of the data set, a key of `PAPER_DATA`.
        backbone: the name of the network.
        device: a torch device.
    """
    from kmex_core.models import training

    recipe = recipes.recipe(data, name, BLACK_BOX, 1, 0, False, device)
    run = training.Run(training.build(recipe, backbone, len(data.class_names), data.image_size))
    times = [time.perf_counter()]

    def look(event: Event) -> None:
        times.append(time.perf_counter())
        if len(times) > LEAST_STEPS + 1 and times[-1] - times[1] >= MEASURED:
            raise _Enough

    with contextlib.suppress(_Enough):
        training.fit(run, data, recipe, data.preprocessing, device, progress=look)
    images = min(recipe.batch_size, len(data.split("train")))
    # the first step is slower, and is left out where there are others
    first = 1 if len(times) > 2 else 0
    return images * (len(times) - 1 - first) / max(times[-1] - times[first], 1e-6)
