"""Evaluations: every metric of a model's prototypes, over several runs, from the store or measured now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.errors import InputError
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.metric import Certainty
from kmex_core.metrics.types import Evaluation, MapScores, Measured, NotComputed
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import Conversion
from kmex_core.relevance.catalogue import DEFAULT, METHODS
from kmex_core.stages.subject import IMAGES, Subject

NO_SHARE = NotComputed("No similarity is above 0, so a share of it is meaningless.")


def evaluate(
    subjects: Sequence[Subject],
    source: PrototypeSource,
    seeds: Sequence[int],
    images: int = IMAGES,
    names: Sequence[str] = tuple(METRICS),
    method: str = DEFAULT,
) -> Evaluation:
    """Metrics of a model's prototypes over several runs. Stored measurements are reused.

    Args:
        subjects: the model, and others trained alike on the same data: each takes part with each seed.
        source: of the prototypes.
        seeds: of k-means and of the choice of images.
        images: number of test images for metrics on relevance maps; all if there are fewer.
        names: of `METRICS`. The black box's are included.
        method: of the relevance maps, a name in `relevance.catalogue.METHODS`.

    Raises:
        InputError: for an unknown metric or method, or models of different kinds; see `ModelConversion`.
    """
    for name in names:
        METRICS.named(name)
    METHODS.named(method)
    infos = [subject.info for subject in subjects]
    kinds = {(info.kind, info.dataset, info.class_column, info.backbone, info.image_size, info.k) for info in infos}
    if len(kinds) != 1:
        raise InputError("All models of an evaluation must have the same data set, kind, backbone and image size.")
    runs: list[dict[str, float | NotComputed]] = []
    deviations: list[dict[str, float]] = []
    for subject in subjects:
        for seed in seeds:
            values, deviation = _run(_Run(subject, source.seeded(seed), seed, images, method), names)
            runs.append(values)
            deviations.append(deviation)
    first, wants_maps = subjects[0], any(METRICS[name].maps for name in names)
    reference = None if source.has_black_box or "faithfulness" not in names else first.reference()
    test = len(first.data.split("test"))
    return Evaluation(
        models=tuple(info.name for info in infos),
        kind=first.info.kind,
        dataset=first.info.dataset,
        backbone=first.info.backbone,
        k=source.per_class(first.info.k),
        seeds=tuple(seeds),
        images=min(images, test) if wants_maps else 0,
        test_images=test,
        method=method if wants_maps else "",
        metrics={name: _measured(name, runs, deviations, test) for name in runs[0]},
        built_in=not source.has_black_box,
        reference=reference.name if reference else "",
        class_column=first.info.class_column,
        caveat=" ".join(filter(None, (info.caveat for info in infos))),
    )


def _measured(
    name: str, runs: Sequence[dict[str, float | NotComputed]], deviations: Sequence[dict[str, float]], test: int
) -> Measured:
    values = [run[name] for run in runs]
    missing = [value for value in values if isinstance(value, NotComputed)]
    if missing:
        return Measured(name, (), reason=missing[0].reason)
    numbers = tuple(float(value) for value in values if not isinstance(value, NotComputed))
    over_images = [deviation[name] for deviation in deviations if name in deviation]
    shares = name in ("accuracy", "accuracy_black_box", "agreement")
    return Measured(
        name,
        numbers,
        std_images=float(np.mean(over_images)) if over_images else None,
        interval=metrics.wilson_interval(float(np.mean(numbers)), test) if shares else None,
    )


def _run(run: _Run, names: Sequence[str]) -> tuple[dict[str, float | NotComputed], dict[str, float]]:
    """One run: every metric's value, and for metrics that are means over images, their standard deviation."""
    source = run.source
    values: dict[str, float | NotComputed] = {}
    deviations: dict[str, float] = {}
    for name in names:
        metric = METRICS[name]
        if metric.beside and not source.has_black_box:
            continue
        measured = {name: metric.measure(run)}
        if metric.of_both and source.has_black_box:
            measured[metric.black_box] = metric.measure_black_box(run)
        for key, value in measured.items():
            if not isinstance(value, np.ndarray):
                values[key] = value
                continue
            known = value[~np.isnan(value)]  # a share of a similarity ≤ 0 is meaningless
            values[key] = float(known.mean()) if len(known) else NO_SHARE
            if len(known):
                deviations[key] = float(known.std())
    return values, deviations


@dataclass(frozen=True)
class _Run:
    """See `metric.Run`. Each part is computed when a metric first asks for it."""

    subject: Subject
    source: PrototypeSource
    seed: int
    images: int
    method: str

    @cached_property
    def converted(self) -> Conversion:
        return self.subject.conversion(self.source).get()

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
                black_box.append(module.head(z).softmax(1).amax(1).cpu().numpy())
        return Certainty(converted.test_confidence, np.concatenate(published), np.concatenate(black_box))

    @property
    def similarity_among(self) -> np.ndarray | None:
        if self.source.has_black_box:
            return None
        import torch

        with torch.no_grad():
            head: Any = self.subject.network.head
            among: np.ndarray = head.similarity(head.prototypes).double().cpu().numpy()
        return among

    @cached_property
    def scores(self) -> MapScores | NotComputed:
        return self.subject.relevance_scores(self.source, self.images, self.seed, self.method).get_or_why_not()

    @property
    def divergence(self) -> np.ndarray | NotComputed:
        if isinstance(self.scores, NotComputed):
            return self.scores
        if self.source.has_black_box:
            return self.scores.divergence
        return self.subject.divergences(self.images, self.seed, self.method)
