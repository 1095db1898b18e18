"""Evaluations: every metric of a model's prototypes, over several runs, from the store or measured now."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.errors import InputError
from kmex_core.metrics.calibration import Reliability
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.metric import NO_PREDICTIONS, Certainty, Value
from kmex_core.metrics.types import AgainstChance, Evaluation, MapDivergences, MapScores, Measured, NotComputed
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import PrototypeSource, Version
from kmex_core.prototypes.types import Conversion, Prototypes, Summary
from kmex_core.relevance.catalogue import MapKind
from kmex_core.stages.subject import IMAGES, Subject

NO_SHARE = NotComputed("No similarity is above 0, so a share of it is meaningless.")


def evaluate(
    subjects: Sequence[Subject],
    source: PrototypeSource,
    seeds: Sequence[int],
    images: int = IMAGES,
    names: Sequence[str] = tuple(METRICS),
    maps: MapKind | None = None,
    run_of: Callable[[Subject, PrototypeSource, int, int, MapKind], ModelRun] | None = None,
) -> Evaluation:
    """Metrics of a model's prototypes over several runs. Stored measurements are reused.

    Args:
        subjects: the model, and others trained alike on the same data: each takes part with each seed.
        source: of the prototypes.
        seeds: of k-means and of the choice of images.
        images: number of test images for metrics on relevance maps; all if there are fewer.
        names: of `METRICS`. The black box's are included.
        maps: the kind of the relevance maps; the model's default when None.
        run_of: how one run is measured; `ModelRun` when None.

    Raises:
        InputError: for an unknown metric, target or method, or models of different kinds; see `ModelConversion`.
    """
    names = _with_chance(names)
    infos = [subject.info for subject in subjects]
    maps = (maps or infos[0].default_maps).checked()
    kinds = {(info.kind, info.dataset, info.class_column, info.backbone, info.image_size, info.k) for info in infos}
    if len(kinds) != 1:
        raise InputError("All models of an evaluation must have the same data set, kind, backbone and image size.")
    runs: list[dict[str, _Value]] = []
    predictions: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for subject, seed in itertools.product(subjects, seeds):  # no run is held longer than needed
        run = (run_of or ModelRun)(subject, source.seeded(seed), seed, images, maps)
        runs.append(_run(run, names))
        predictions = predictions or [run.predictions]
    first, wants_maps = subjects[0], any(METRICS[name].maps for name in names)
    reference = first.reference() if source.built_in and "faithfulness" in names else None
    test, (labels, right, right_black_box) = len(first.data.split("test")), predictions[0]
    return Evaluation(
        models=tuple(info.name for info in infos),
        kind=first.info.kind,
        dataset=first.info.dataset,
        backbone=first.info.backbone,
        k=source.per_class(first.info.k),
        seeds=tuple(seeds),
        images=min(images, test) if wants_maps else 0,
        test_images=test,
        target=maps.target if wants_maps else "",
        method=maps.method if wants_maps else "",
        metrics={name: _measured(name, runs, len(subjects), test) for name in runs[0]},
        built_in=source.built_in,
        version=source.name if isinstance(source, Version) else "",
        predicts=first.info.predicts,
        reference=reference.name if reference else "",
        class_column=first.info.class_column,
        caveat=" ".join(filter(None, (info.caveat for info in infos))),
        labels=labels,
        right=right,
        right_black_box=right_black_box,
    )


def _with_chance(names: Sequence[str]) -> list[str]:
    """Names of `METRICS` with their chance levels: no figure without what chance would give."""
    for name in names:
        METRICS.named(name)
    return [name for name, metric in METRICS.items() if name in names or metric.chance_of in names]


@dataclass(frozen=True)
class _Value:
    """A metric in one run.

    Attributes:
        number: the value, or why there is none.
        std_images: its standard deviation over images, if it is a mean over them.
        against: by chance level, how much better it is (mean over images) and the standard error of that.
    """

    number: float | NotComputed
    std_images: float | None = None
    against: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _measured(name: str, runs: Sequence[Mapping[str, _Value]], trainings: int, test: int) -> Measured:
    values = [run[name] for run in runs]
    missing = [value.number for value in values if isinstance(value.number, NotComputed)]
    if missing:
        return Measured(name, (), reason=missing[0].reason)
    numbers = tuple(float(value.number) for value in values if not isinstance(value.number, NotComputed))
    over_images = [value.std_images for value in values if value.std_images is not None]
    shares = name in ("accuracy", "accuracy_black_box", "agreement")
    return Measured(
        name,
        numbers,
        std_images=float(np.mean(over_images)) if over_images else None,
        interval=metrics.wilson_interval(float(np.mean(numbers)), test) if shares else None,
        trainings=trainings,
        against=tuple(
            AgainstChance(chance, *np.mean([value.against[chance] for value in values], 0).tolist())
            for chance in values[0].against
            if all(chance in value.against for value in values)
        ),
    )


def _run(run: ModelRun, names: Sequence[str]) -> dict[str, _Value]:
    """Every metric's value in one run."""
    source = run.source
    by_name: dict[str, Value] = {}
    for name in names:
        metric = METRICS[name]
        if metric.beside and source.built_in:
            continue
        by_name[name] = metric.measure(run)
        if metric.of_both and run.has_black_box:
            by_name[metric.black_box] = metric.measure_black_box(run)
    found = {key: _of_images(value) for key, value in by_name.items()}
    for name in names:
        if chance_of := METRICS[name].chance_of:
            metric, chance = METRICS[chance_of], METRICS[name]
            for key, beside in ((metric.name, chance.name), (metric.black_box, chance.black_box)):
                paired = _paired(by_name.get(key), by_name.get(beside), metric.better)
                if paired is not None:
                    found[key] = replace(found[key], against={**found[key].against, beside: paired})
    return found


def _of_images(value: Value) -> _Value:
    if not isinstance(value, np.ndarray):
        return _Value(value)
    known = value[~np.isnan(value)]  # a share of a similarity ≤ 0 is meaningless
    return _Value(float(known.mean()), float(known.std())) if len(known) else _Value(NO_SHARE)


def _paired(value: Value | None, chance: Value | None, better: str) -> tuple[float, float] | None:
    """How much better (N,) values are than chance: the mean over images, and its standard error."""
    if not isinstance(value, np.ndarray) or not isinstance(chance, np.ndarray):
        return None
    difference = value - chance if better == "higher" else chance - value
    difference = difference[~np.isnan(difference)]
    if len(difference) < 2:
        return None
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


@dataclass(frozen=True)
class ModelRun:
    """See `metric.Run`. Each part is computed when a metric first asks for it.

    Attributes:
        subject, source: the model and its prototypes.
        seed: of k-means and of the choice of images.
        images, maps: see `evaluate`.
    """

    subject: Subject
    source: PrototypeSource
    seed: int
    images: int
    maps: MapKind

    @property
    def has_black_box(self) -> bool:
        """Whether KMEx is compared with a black box: not so for built-in prototypes, nor beside an encoder."""
        return not self.source.built_in and self.subject.info.predicts

    @cached_property
    def converted(self) -> Conversion:
        return self.subject.conversion(self.source).get()

    @property
    def summary(self) -> Summary:
        return self.converted.summary

    @property
    def prototypes(self) -> Prototypes:
        return self.converted.prototypes

    @cached_property
    def variance(self) -> np.ndarray:
        train = self.train.in_space(self.converted.metric)
        return metrics.class_variance(train.z, train.labels, len(self.subject.info.class_names))

    @property
    def predictions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(M,) the classes of the test images, and whether each prediction is correct: ours, and the black box's."""
        labels = self.subject.data.split("test").labels
        return labels, self.converted.test_predicted == labels, self.converted.test_black_box == labels

    @property
    def train(self) -> Embeddings:
        return self.subject.read(self.subject.embedding("train"))

    @property
    def test(self) -> Embeddings:
        return self.subject.read(self.subject.embedding("test"))

    @cached_property
    def certainty(self) -> Certainty:
        import torch

        from kmex_core.prototypes.fit import ROWS

        module, test, converted = self.subject.explainer(self.source), self.test, self.converted
        black_box, published = [], []
        for start in range(0, len(test), ROWS):
            # (n, D) embeddings and (n,) predicted classes
            z = torch.from_numpy(test.z[start : start + ROWS]).to(module.prototypes.device)
            predicted = torch.from_numpy(converted.test_predicted[start : start + ROWS]).to(z.device)
            with torch.no_grad():
                by_class = module.reference_probabilities(module.similarity(z))
                published.append(by_class.gather(1, predicted[:, None])[:, 0].cpu().numpy())
                if self.subject.info.predicts:
                    black_box.append(module.head(z).softmax(1).amax(1).cpu().numpy())
        right = converted.test_predicted == test.labels
        return Certainty(
            Reliability.of(converted.test_confidence, right),
            Reliability.of(np.concatenate(published), right),
            Reliability.of(np.concatenate(black_box), test.black_box == test.labels) if black_box else None,
        )

    @property
    def similarity_among(self) -> np.ndarray | None:
        if not self.source.built_in:
            return None
        import torch

        with torch.no_grad():
            head: Any = self.subject.network.head
            among: np.ndarray = head.similarity(head.prototypes).double().cpu().numpy()
        return among

    @cached_property
    def scores(self) -> MapScores | NotComputed:
        return self.subject.relevance_scores(self.source, self.images, self.seed, self.maps).get_or_why_not()

    @cached_property
    def divergences(self) -> MapDivergences | NotComputed:
        if isinstance(self.scores, NotComputed):
            return self.scores
        if not self.source.built_in:
            return self.scores if self.has_black_box else NO_PREDICTIONS
        return self.subject.divergences(self.images, self.seed, self.maps)
