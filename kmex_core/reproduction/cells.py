"""The cells and settings of a report, from what was measured of each training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kmex_core.analysis.published import Published
from kmex_core.data.dataset import ImageDataset
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.types import Evaluation
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.reproduction.plan import BLACK_BOX, Plan, Training, Wanted, cells_of, title_of
from kmex_core.reproduction.recipes import (
    MAP_IMAGES,
    NETWORK,
    PAPER_DATA,
    RUNS,
    is_jpeg,
    notes_on_data,
    notes_on_recipe,
    paper_epochs,
)
from kmex_core.reproduction.types import Cell, Measured, Setting


@dataclass(frozen=True, eq=False)
class Taken:
    """What was measured of one training.

    Attributes:
        training: what was planned.
        info: the model.
        published, second: evaluations by what the paper calls the model, as published and by the second edition.
    """

    training: Training
    info: ModelInfo
    published: Mapping[str, Evaluation]
    second: Mapping[str, Evaluation]


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that a report is made from.

    Attributes:
        wanted, plan: what was asked for, and what is done of it.
        data: the data sets that are there, by name.
        missing: what to download for the others.
        taken: what was measured, by training.
        failed: why trainings, or what is measured of them, came to nothing.
    """

    wanted: Wanted
    plan: Plan
    data: Mapping[str, ImageDataset]
    missing: Mapping[str, str]
    taken: Mapping[Training, Taken]
    failed: Mapping[Training, str]

    def of(self, kind: str, name: str) -> list[Taken]:
        """What was measured of a kind of model on a data set, by run."""
        found = [taken for each, taken in self.taken.items() if (each.kind, each.dataset) == (kind, name)]
        return sorted(found, key=lambda taken: taken.training.run)

    def failures(self, kind: str, name: str) -> list[str]:
        """Why trainings of a kind of model on a data set came to nothing."""
        return [why for each, why in self.failed.items() if (each.kind, each.dataset) == (kind, name)]

    def pending(self) -> list[Training]:
        """What is planned and neither measured nor failed."""
        return [each for each in self.plan.trainings() if each not in self.taken and each not in self.failed]


def names_of(kind: str, name: str, models: Sequence[str], tables: tuple[int, ...], second: bool) -> list[str]:
    """The metrics that the tables need of a model.

    Args:
        kind, name: of model and data set, see `cells_of`.
        models: what the paper calls the model: two names for a black box and its KMEx, which are measured together.
        tables: of the paper.
        second: those of the second edition, without those that are the same of models without KMEx.
    """
    metrics = dict.fromkeys(figure.metric for figure in cells_of(kind, name, tables) if figure.model in models)
    if not second:
        return list(metrics)
    by_kmex = MODEL_KINDS[kind].paper[1] in models
    return [
        METRICS[metric].reference_of or metric
        for metric in metrics
        if by_kmex or METRICS[metric].reference_of or METRICS[metric].maps
    ]


def cells(findings: Findings) -> tuple[Cell, ...]:
    """The cells of the wanted tables, table by table."""
    found = [
        _cell(findings, kind, name, figure)
        for name in findings.wanted.datasets
        for kind in MODEL_KINDS
        for figure in cells_of(kind, name, findings.wanted.tables)
    ]
    return tuple(sorted(found, key=lambda cell: cell.table))


def _cell(findings: Findings, kind: str, name: str, figure: Published) -> Cell:
    taken = findings.of(kind, name)
    metric, second = figure.metric, METRICS[figure.metric].reference_of or figure.metric
    ours = _measured([each.published[figure.model] for each in taken], figure.model, metric)
    again = [each.second[figure.model] for each in taken if figure.model in each.second]
    other = _measured(again, figure.model, second)
    missing = ""
    if not isinstance(ours, Measured):
        missing = ours or _why_missing(findings, kind, name)
    return Cell(
        table=figure.table,
        metric=metric,
        model=figure.model,
        dataset=figure.dataset,
        mean=figure.mean,
        std=figure.std,
        published=ours if isinstance(ours, Measured) else None,
        # of the black box only what is measured on relevance maps differs
        second=other if isinstance(other, Measured) and not _same(kind, figure) else None,
        missing=missing,
        short=tuple(_short(findings, taken, name, METRICS[metric].maps)) if taken and not missing else (),
    )


def _same(kind: str, figure: Published) -> bool:
    """Whether the second edition defines a figure as the paper does."""
    metric = METRICS[figure.metric]
    return figure.model == MODEL_KINDS[kind].paper[0] and not metric.maps and not metric.reference_of


def _measured(evaluations: Sequence[Evaluation], model: str, metric: str) -> Measured | str:
    """A figure over trainings; why there is none, "" where it was not measured."""
    black_box = model == MODEL_KINDS[BLACK_BOX].paper[0]

    def key_of(name: str) -> str:
        return METRICS[name].black_box if black_box else name

    found = [of.metrics[key_of(metric)] for of in evaluations if key_of(metric) in of.metrics]
    if not found:
        return ""
    if any(each.mean is None for each in found):
        return next(each.reason for each in found if each.mean is None)
    over_images = [each.std_images for each in found if each.std_images is not None]
    chance = []
    for name, level in METRICS.items():
        if level.chance_of == metric:
            levels = [of.metrics[key_of(name)].mean for of in evaluations if key_of(name) in of.metrics]
            known = [value for value in levels if value is not None]
            chance += [(level.chance_name, float(np.mean(known)))] if known else []
    return Measured(
        metric,
        tuple(float(each.mean) for each in found if each.mean is not None),
        float(np.mean(over_images)) if over_images else None,
        tuple(chance),
    )


def _why_missing(findings: Findings, kind: str, name: str) -> str:
    """Why a cell has no figure, and what would give it."""
    if name in findings.missing:
        return findings.missing[name]
    if why := findings.failures(kind, name):
        return why[0]
    if findings.plan.part(kind, name) is None:
        minutes = f"{findings.wanted.budget:g}"
        return (
            f"{title_of(kind, name)} was not trained within the budget of {minutes} minutes. A larger --budget, or "
            "none, trains it."
        )
    return f"{title_of(kind, name)} is not trained and measured yet. The same command with --resume goes on."


def _short(findings: Findings, taken: Sequence[Taken], name: str, on_maps: bool) -> Iterator[str]:
    """What was less than the paper's, in phrases."""
    data, of = findings.data[name], PAPER_DATA[name]
    infos = [each.info for each in taken]
    if networks := sorted({info.backbone for info in infos} - {NETWORK}):
        yield f"{' and '.join(networks)} in place of {NETWORK}"
    if not all(_recipe(info).get("imagenet", False) for info in infos):
        yield "random initial weights"
    epochs, most = min(_epochs(info) for info in infos), paper_epochs(infos[0].kind, name)
    if epochs < most:
        yield f"{epochs} of {most} epochs"
    if precisions := sorted({_recipe(info)["precision"] for info in infos if "precision" in _recipe(info)}):
        yield f"trained in {' and '.join(precisions)}"
    if len(infos) < RUNS:
        yield f"{len(infos)} of {RUNS} runs"
    train, test = len(data.split("train")), len(data.split("test"))
    if train < of.train:
        yield f"{train:,} of {of.train:,} training images"
    images = min(findings.plan.images, test)
    if on_maps and images < min(MAP_IMAGES, of.test):
        yield f"{images:,} of {MAP_IMAGES:,} images for relevance maps"
    if name != "celeba" and is_jpeg(data):
        yield "pictures as JPEG re-encodes"


def settings(findings: Findings) -> tuple[Setting, ...]:
    """How the trainings that were measured were done, by data set and kind of model."""
    found = [
        _setting(findings.of(kind, name), kind, name, findings.data[name])
        for name in findings.wanted.datasets
        for kind in MODEL_KINDS
        if findings.of(kind, name)
    ]
    return tuple(found)


def _setting(taken: Sequence[Taken], kind: str, name: str, data: ImageDataset) -> Setting:
    infos = [each.info for each in taken]
    images = len(data.split("train"))
    histories = [info.made_by.get("history", []) for info in infos]
    seconds = sum(epoch.get("seconds", 0.0) for history in histories for epoch in history)
    seen = images * sum(map(len, histories))
    recipe_notes = dict.fromkeys(note for info in infos for note in notes_on_recipe(info, name))
    return Setting(
        dataset=PAPER_DATA[name].paper,
        kind=kind,
        backbone=infos[0].backbone,
        imagenet=all(bool(_recipe(info).get("imagenet", False)) for info in infos),
        epochs=min(_epochs(info) for info in infos),
        paper_epochs=paper_epochs(kind, name),
        runs=len(infos),
        paper_runs=RUNS,
        images=images,
        test_images=len(data.split("test")),
        seconds=round(seconds, 2),
        images_per_second=round(seen / seconds, 1) if seconds else 0.0,
        device=str(infos[0].made_by.get("device", "")),
        notes=(*notes_on_data(data, name), *recipe_notes),
    )


def _recipe(info: ModelInfo) -> Mapping[str, Any]:
    recipe: Mapping[str, Any] = info.made_by.get("recipe", {})
    return recipe


def _epochs(info: ModelInfo) -> int:
    return int(_recipe(info).get("epochs", 0))
