"""Figure 5 of the paper: attributes captured against prototypes per class, of the baselines and of KMEx on each.

The black box is trained once and converted for every number. A baseline is trained for each number anew, so a budget
decides how many numbers it has. Whatever was trained or converted is stored, and not done again.
"""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.analysis.coverage import Curves, checked
from kmex_core.base.chance import chance_accuracy
from kmex_core.base.devices import checked_device
from kmex_core.base.phrases import joined
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec, stable_key
from kmex_core.base.store import Store
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset, Subset
from kmex_core.data.opened import dataset
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import BASELINES, MODEL_KINDS
from kmex_core.prototypes.metric import EUCLIDEAN
from kmex_core.prototypes.source import per_class_words
from kmex_core.reproduction.types import CurveRow
from kmex_core.stages.curves import attribute_curves, built_in_attribute_curves
from kmex_core.stages.subject import Subject

if TYPE_CHECKING:
    from kmex_core.models.training import Recipe

KS = (1, 2, 5, 10, 20)
FIRST = (5, 20, 1, 10, 2)  # the order in which baselines are trained: the ends of the curves before what is between
CELEBA, SPRITES_CLASS = "celeba", "Any_Armour"
BLACK_BOX = "blackbox"
FEWEST = 3  # epochs, however short the time is
SHARE = 0.85  # of the minutes that trainings may take; the rest is for embeddings and conversions
PROPORTIONAL = ("warm", "push")  # options of ProtoPNet, in epochs
STEPS = 3  # of a training whose speed is measured, the first of which is not counted


@dataclass(frozen=True)
class Figure:
    """Figure 5, as far as it was made.

    Attributes:
        rows: its points, by model in the paper's order and by number.
        about: which data set and class it is of, and how it was made, sentences.
        left: what there was no time for, a sentence each.
    """

    rows: tuple[CurveRow, ...]
    about: str
    left: tuple[str, ...]


class _OutOfTime(Exception):
    """A training that reached the end of the budget; its checkpoints are kept."""


def faces_or_sprites(data_root: str = "", sprites: str = "") -> DatasetSpec | None:
    """The data set of the figure: CelebA if its files are under the data root, else the sprites; None without either.

    Args:
        data_root: see `registry.data_root`.
        sprites: the path of parquet files with attributes, whose class is then `Any_Armour`.
    """
    if registry.available(CELEBA, data_root):
        return DatasetSpec(CELEBA, data_root)
    return DatasetSpec(sprites, class_column=SPRITES_CLASS) if sprites else None


def figure5(
    store: Store,
    spec: DatasetSpec,
    *,
    backbone: str = "resnet34",
    imagenet: bool = False,
    ks: Sequence[int] = KS,
    seed: int = 0,
    minutes: float = math.inf,
    epochs: Mapping[str, int] | None = None,
    device: str = "",
    command: str = "",
    progress: Progress = silent,
) -> Figure:
    """Train what is missing, convert, and count the attributes that the prototypes' pictures have.

    Without a budget, all models are trained for as many epochs as the paper's. Within one, every kind is trained for as
    many as let all trainings fit, at least `FEWEST`; their speed is measured first. Earlier trainings of the same data
    set, backbone and seed decide the epochs of those that follow. A training is begun if an epoch of it fits into the
    time; one that does not end in time is stopped, and continued by the next call.

    Args:
        store: where models and results are kept; models are named `reproduce-…`.
        spec: a data set with attributes, see `faces_or_sprites`.
        backbone: of all models.
        imagenet: whether training starts from ImageNet weights, as the paper's does.
        ks: prototypes per class.
        seed: of trainings and k-means, one each.
        minutes: the budget. Embedding and converting the last model may take longer.
        epochs: by kind of model, in place of those that fit the budget.
        device: a torch device.
        command: for the provenance of models.
        progress: called after every step; it may raise to stop.

    Raises:
        InputError: when the data set has no attributes, or cannot be loaded.
        TrainingError: see `training_runs.train`.
    """
    data = dataset(spec, progress)
    checked(data.split("train"), data.name)
    trainings = _Trainings(
        store=store,
        spec=spec,
        data=data,
        backbone=backbone,
        imagenet=imagenet,
        seed=seed,
        device=checked_device(device),
        command=command,
        minutes=minutes,
        progress=progress,
        epochs=dict(epochs or {}),
    )
    trainings.plan(ks)
    rows: list[CurveRow] = []
    # KMEx on the black box needs one training for all numbers
    if (info := trainings.trained(BLACK_BOX, 0)) is not None:
        curves = attribute_curves(trainings.subject(info), ks, (seed,), EUCLIDEAN)
        rows += _rows(MODEL_KINDS[BLACK_BOX].paper[1], curves)
        for k in sorted(ks, key=lambda k: FIRST.index(k) if k in FIRST else len(FIRST)):
            for kind in BASELINES:
                if (info := trainings.trained(kind, k)) is not None:
                    subject, (own, with_kmex) = trainings.subject(info), BASELINES[kind].paper
                    rows += _rows(own, built_in_attribute_curves([subject]))
                    rows += _rows(with_kmex, attribute_curves(subject, (k,), (seed,), EUCLIDEAN))
    models = [name for kind in MODEL_KINDS.values() for name in kind.paper]
    rows.sort(key=lambda row: (models.index(row.model), row.k))
    return Figure(tuple(rows), trainings.about(), tuple(trainings.left(ks)))


def _rows(model: str, curves: Curves) -> list[CurveRow]:
    of = len(curves.names)
    return [
        CurveRow(model, k, float(captured), of, band.low, band.high)
        for k, captured, band in zip(curves.ks, curves.captured[0].tolist(), curves.chance_captured, strict=True)
    ]


@dataclass
class _Trainings:
    """The trainings of the figure: what is in the store, what fits into the time, and what is left out."""

    store: Store
    spec: DatasetSpec
    data: ImageDataset
    backbone: str
    imagenet: bool
    seed: int
    device: str
    command: str
    minutes: float
    progress: Progress
    epochs: dict[str, int]
    began: float = field(default_factory=lambda: time.monotonic())
    seconds: dict[str, float] = field(default_factory=dict)  # of an epoch, by kind
    done: dict[tuple[str, int], ModelInfo] = field(default_factory=dict)
    stopped: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def remaining(self) -> float:
        """Seconds of the budget."""
        return self.minutes * 60 - (time.monotonic() - self.began)

    @cached_property
    def prefix(self) -> str:
        """Of the models' names; it tells data set, backbone, initial weights and seed apart."""
        what = [self.data.fingerprint, self.data.image_size, self.backbone, self.imagenet, self.seed]
        slug = re.sub(r"[^a-z0-9]+", "-", registry.title(self.data.name).lower()).strip("-")[:16].strip("-") or "data"
        return f"reproduce-{slug}-{stable_key(what)[:6]}"

    def name(self, kind: str, k: int) -> str:
        """Of a model with so many prototypes per class (0 for the black box)."""
        return f"{self.prefix}-{kind}{f'-k{k}' if k else ''}-e{self.epochs[kind]}"

    def recipe(self, kind: str, k: int, epochs: int | None = None) -> Recipe:
        """How a kind is trained, for the paper's epochs if no others are given; with fewer of them, ProtoPNet's warm
        epochs and those between pushes are fewer in proportion."""
        from kmex_core.models.training import default_recipe

        recipe = default_recipe(self.data, self.imagenet, kind, k=k if kind in BASELINES else None, seed=self.seed)
        if epochs is None or epochs == recipe.epochs:
            return recipe
        share = min(1.0, epochs / recipe.epochs)
        fewer = {name: max(1, round(recipe.options[name] * share)) for name in PROPORTIONAL if name in recipe.options}
        return dataclasses.replace(recipe, epochs=epochs, options={**recipe.options, **fewer})

    # ---- the plan --------------------------------------------------------------------------------------------------

    def plan(self, ks: Sequence[int]) -> None:
        """Decide the epochs of every kind: those asked for, else the paper's, or within a budget those of earlier
        trainings, else as many as time allows."""
        papers = {kind: self.recipe(kind, max(ks)).epochs for kind in MODEL_KINDS}
        if not math.isinf(self.minutes):
            self.epochs = {kind: before for kind in MODEL_KINDS if (before := self._epochs_before(kind))} | self.epochs
            new = [kind for kind in MODEL_KINDS if kind not in self.epochs]
            share = self._share(ks, papers) if new and self.remaining > 0 else 0.0
            self.epochs |= {kind: min(papers[kind], max(FEWEST, math.floor(share * papers[kind]))) for kind in new}
        self.epochs = papers | self.epochs

    def _share(self, ks: Sequence[int], papers: Mapping[str, int]) -> float:
        """The share of the paper's epochs, 0…1, with which all trainings that are missing fit into the time."""
        self.seconds = {kind: self._measured(kind, max(ks)) for kind in MODEL_KINDS}
        known = catalogue.known_names(self.store)
        whole = 0.0
        for kind in MODEL_KINDS:
            numbers = ks if kind in BASELINES else (0,)
            missing = [k for k in numbers if kind not in self.epochs or self.name(kind, k) not in known]
            whole += self.seconds[kind] * len(missing) * self.epochs.get(kind, papers[kind])
        return min(1.0, SHARE * max(0.0, self.remaining) / max(whole, 1e-9))

    def _epochs_before(self, kind: str) -> int:
        """The most epochs of a training of this kind in the store, ended or not; 0 for none."""
        rooms = (name for room in catalogue.RUNS for name in self.store.names(room))
        form = re.compile(rf"{re.escape(self.prefix)}-{kind}(-k\d+)?-e(\d+)")
        found = (form.fullmatch(name) for name in (*catalogue.known_names(self.store), *rooms))
        return max((int(match[2]) for match in found if match), default=0)

    def _measured(self, kind: str, k: int) -> float:
        """Seconds of an epoch, from a few steps of the last stage of a training, which trains everything."""
        from kmex_core.models import training

        recipe, train = self.recipe(kind, k), self.data.split("train")
        count = min(len(train), STEPS * recipe.batch_size)
        # images of every class, then others that are evenly spread
        first = np.unique(train.labels, return_index=True)[1]
        rest = np.setdiff1d(np.linspace(0, len(train) - 1, count).astype(int), first)
        few = dataclasses.replace(self.data, splits={"train": Subset(train, np.concatenate([first, rest])[:count])})
        plain = Preprocessing.plain(self.data.image_size, self.data.channels)
        network = training.build(recipe, self.backbone, len(self.data.class_names), self.data.image_size)
        times: list[float] = []

        def watch(event: Event) -> None:
            times.append(time.perf_counter())
            self.progress(Event("Measuring the speed of training", len(times), STEPS, MODEL_KINDS[kind].title))

        start = time.perf_counter()
        training.fit(training.Run(network, recipe.epochs - 1), few, recipe, plain, self.device, progress=watch)
        step = statistics.mean(np.diff(times).tolist()) if len(times) > 1 else times[0] - start
        return step * len(train) / min(count, recipe.batch_size)

    # ---- training --------------------------------------------------------------------------------------------------

    def trained(self, kind: str, k: int) -> ModelInfo | None:
        """A model of the store, or trained now; None where there was no time for it."""
        name = self.name(kind, k)
        if name in catalogue.known_names(self.store):
            info = catalogue.describe(self.store, name)
        elif self.remaining <= self.seconds.get(kind, 0.0):
            return None
        else:
            try:
                info = self._train(name, kind, k)
            except _OutOfTime:
                self.stopped[kind, k] = self._stopped(name, kind, k)
                return None
        history = info.made_by.get("history") or []
        if history:
            self.seconds[kind] = max(float(epoch["seconds"]) for epoch in history)
        self.done[kind, k] = info
        return info

    def _train(self, name: str, kind: str, k: int) -> ModelInfo:
        from kmex_core.stages.training_runs import TrainRequest, train

        title = self._title(kind, k)

        def watch(event: Event) -> None:
            if event.stage != "Epoch":
                self.progress(event)
                return
            self.progress(dataclasses.replace(event, group=title[:1].upper() + title[1:]))
            if event.done < event.total and self.remaining <= 0:
                raise _OutOfTime

        recipe = self.recipe(kind, k, self.epochs[kind])
        request = TrainRequest(name, self.spec, self.backbone, recipe, self.device, self.command)
        return train(self.store, request, catalogue.has_run(self.store, name), progress=watch)

    def _stopped(self, name: str, kind: str, k: int) -> str:
        from kmex_core.stages.training_runs import unfinished

        done = len(unfinished(self.store, name) or ())
        return (
            f"The training of {self._title(kind, k)} was stopped after {done} of {self.epochs[kind]} epochs; give the "
            "same command again to continue it."
        )

    def _title(self, kind: str, k: int) -> str:
        if kind == BLACK_BOX:
            return f"the {MODEL_KINDS[kind].title}"
        return f"{MODEL_KINDS[kind].title} with {per_class_words(k)}"

    def subject(self, info: ModelInfo) -> Subject:
        """A model with the figure's data."""
        return Subject(self.store, info, self.data, self.device, self.progress)

    # ---- in words --------------------------------------------------------------------------------------------------

    def about(self) -> str:
        """Which data set and class the figure is of, and how it was made."""
        train, size = self.data.split("train"), f"{self.data.image_size} × {self.data.image_size} pixels"
        sentences = [
            f"{registry.title(self.data.name)}, class {self.data.class_column or 'of the data set'}, "
            f"{len(train.attribute_names)} attributes besides it, {len(train):,} training images of {size}."
        ]
        if registry.registered(self.data.name) != CELEBA:
            sentences.append("It stands in for the paper's CelebA, which is not here.")
        sentences.append(
            f"{self.backbone} from {'ImageNet' if self.imagenet else 'random'} weights, one training with seed "
            f"{self.seed} for each number of prototypes, KMEx in the Euclidean metric, as published."
        )
        kinds = [kind for kind in MODEL_KINDS if any(done == kind for done, _ in self.done)]
        if kinds:
            epochs = [
                f"{MODEL_KINDS[kind].title} {self.epochs[kind]} of the paper's {self.recipe(kind, 1).epochs}"
                for kind in kinds
            ]
            accuracy = [f"{MODEL_KINDS[kind].title} {self._accuracies(kind)}" for kind in kinds]
            guessing = chance_accuracy(self.data.split("test").labels, len(self.data.class_names))
            sentences.append(
                f"Epochs: {joined('and', epochs)}. Test accuracy: {joined('and', accuracy)}; by guessing "
                f"{guessing:.1%}."
            )
        if "protopnet" in kinds and self.epochs["protopnet"] < self.recipe("protopnet", 1).epochs:
            sentences.append("ProtoPNet's warm epochs and those between pushes are fewer in proportion.")
        return " ".join([*sentences, *filter(None, map(self._untrained, kinds))])

    def _untrained(self, kind: str) -> str:
        """Which models of a kind have prototypes that training hardly moved, as a sentence; "" for none."""
        moved = {k: info.movement for (of, k), info in self.done.items() if of == kind and info.why_not_compared}
        known = [movement for movement in moved.values() if movement is not None]
        if not known:
            return ""
        *others, last = sorted(moved)
        return (
            f"{MODEL_KINDS[kind].title} with {joined('and', [*map(str, others), per_class_words(last)])} is not "
            f"trained: its prototypes moved at most {max(known):.2f} times their initial spread."
        )

    def _accuracies(self, kind: str) -> str:
        values = [info.accuracy for (of, _), info in self.done.items() if of == kind and info.accuracy is not None]
        low, high = f"{min(values):.1%}", f"{max(values):.1%}"
        return low if low == high else f"{low} to {high}"

    def left(self, ks: Sequence[int]) -> list[str]:
        """What there was no time for, a sentence each."""
        sentences = list(self.stopped.values())
        if (BLACK_BOX, 0) not in self.done:
            return [*sentences, "There was no time for the black box, without which Figure 5 has no points."]
        for kind in BASELINES:
            missing = [k for k in sorted(ks) if (kind, k) not in self.done and (kind, k) not in self.stopped]
            if missing:
                *others, last = missing
                words = joined("and", [*map(str, others), per_class_words(last)])
                sentences.append(f"There was no time for {MODEL_KINDS[kind].title} with {words}, nor for KMEx on it.")
        return sentences
