"""Prototypes of a model's embedding, their description, and how well they replace the black box."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.specs import PrototypeSpec
from kmex_core.models.catalogue import BlackBox
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.edits import Workbench, apply, untouched
from kmex_core.prototypes.metric import EUCLIDEAN, EmbeddingMetric
from kmex_core.prototypes.source import SUGGESTED, BuiltIn, KMeans, PrototypeSource, Version
from kmex_core.prototypes.sweep import cluster_centers, reach_of
from kmex_core.prototypes.temperature import temperature_of
from kmex_core.prototypes.types import Conversion, Prototypes, Summary
from kmex_core.stages.bound import Bound
from kmex_core.stages.embedding import Embedded
from kmex_core.stages.geometry import ModelGeometry
from kmex_core.stages.suggestion import ModelSuggestion
from kmex_core.stages.sweep import ModelSweep

if TYPE_CHECKING:
    import torch


TEXTS = ("names", "notes")  # of `Prototypes`


class ModelConversion(Artifact[PrototypeSpec, Conversion]):
    """The prototypes of a source in a model's embedding, described by the training and measured on the test split.

    Args:
        bound: the model and its data.
        source: of the prototypes.
        embedded: the embeddings of its splits.
        geometry: the model's metric, which "auto" stands for.
        sweeps: by their reach, those that have the prototypes of k-means for small numbers.
        suggestion: the numbers that `SUGGESTED` stands for.
        base: of a version, the conversion that was edited.
    """

    room = "prototypes"

    def __init__(
        self,
        bound: Bound,
        source: PrototypeSource,
        embedded: Embedded,
        geometry: ModelGeometry,
        sweeps: Mapping[int, ModelSweep] | None = None,
        suggestion: ModelSuggestion | None = None,
        base: ModelConversion | None = None,
    ) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._source, self._embedded, self._geometry = bound, source, embedded, geometry
        self._sweeps, self._suggestion, self._base = sweeps or {}, suggestion, base

    @cached_property
    def spec(self) -> PrototypeSpec:
        return self._source.spec(self._embedded.train.key, self._embedded.held_out)

    def summary(self) -> Summary | None:
        """The summary of a stored conversion, without reading its arrays; else None."""
        description = self.described()
        try:
            return Summary(**description["summary"]) if description is not None else None
        except (KeyError, TypeError):
            return None  # another version's: recomputed when next needed

    def check(self) -> None:
        """Refuse a version whose edits are of other prototypes.

        Raises:
            InputError: for that.
        """
        source, base = self._source, self._base
        if isinstance(source, Version) and base is not None and source.base_key not in ("", base.key):
            raise InputError(
                f"Version '{source.name}' was made of other prototypes: the data set, its class or the product has "
                "changed since. Its edits mean nothing for these."
            )

    def make(self) -> Conversion:
        """Find the prototypes.

        Raises:
            InputError: for built-in prototypes of a black box, or edits that are not possible; see `fit_prototypes` and
                `extraction.extract`.
        """
        info = self._bound.info
        if isinstance(self._source, BuiltIn) and info.kind == "blackbox":
            raise InputError(
                f"'{info.name}' is a black box without built-in prototypes. Convert it with k = 1 or more."
            )
        self.check()
        embedded = self._embedded
        train, test = self._bound.read(embedded.train), self._bound.read(embedded.test)
        validation = None if embedded.validation is None else self._bound.read(embedded.validation)
        started = time.perf_counter()
        if isinstance(self._source, KMeans):
            device = checked_device(self._bound.device)
            metric = self._geometry.metric(self._source.metric)
            space = train.in_space(metric)
            prototypes = self._prototypes(space, self._source, device)
        elif isinstance(self._source, Version) and self._base is not None:
            base = self._bound.read(self._base)
            device, metric = checked_device(self._bound.device), base.metric
            space = train.in_space(metric)
            prototypes = self._edited(space, self._source, base.prototypes, device)
        else:
            return built_in(train, test, validation, self._bound.network)
        return by_kmeans(space, test, validation, prototypes, self._source.seed, metric, device, started)

    def _prototypes(self, space: Embeddings, source: KMeans, device: str) -> Prototypes:
        """The prototypes in the embedding of the training split, in their space: from a sweep, if one goes that far."""
        import torch

        from kmex_core.prototypes.fit import fit_prototypes, nearest_prototypes

        names = self._bound.info.class_names
        reach = reach_of(source.k)
        if reach is None:
            return fit_prototypes(space, names, source.k, source.seed, device, self.progress)
        sweep = self._bound.read(self._sweeps[reach])
        ks = np.full(len(names), source.k)
        if source.k == SUGGESTED and self._suggestion is not None:
            ks = self._bound.read(self._suggestion).suggested
        cluster, counts = sweep.chosen(ks, space.labels)
        z, labels = torch.from_numpy(space.z).to(device), torch.from_numpy(space.labels).to(device)
        return nearest_prototypes(space, names, *cluster_centers(z, labels, cluster, counts), device)

    def _edited(self, space: Embeddings, source: Version, base: Prototypes, device: str) -> Prototypes:
        """The prototypes of a version, described by the training split."""
        from kmex_core.prototypes.fit import nearest_prototypes

        class_names = self._bound.info.class_names
        bench = Workbench(space.z, space.labels, class_names, source.seed)
        edited = apply(untouched(base.centers, base.classes), source.operations, bench)
        prototypes = nearest_prototypes(space, class_names, edited.shown_centers(), edited.shown_classes(), device)
        shown = edited.shown.tolist()
        names, notes = (tuple(texts[p] for p in shown) for texts in (edited.names, edited.notes))
        return replace(prototypes, names=names, notes=notes)

    def pack(self, result: Conversion) -> tuple[Arrays, dict[str, Any]]:
        return result.prototypes.to_arrays() | result.metric.to_arrays() | result.to_arrays(), {
            "summary": asdict(result.summary),
            "metric": result.metric.to_description(),
            "temperature": asdict(result.temperature),
            "seconds": result.seconds,
            "model": self._bound.info.name,
            **{name: texts for name in TEXTS if (texts := getattr(result.prototypes, name))},
        }

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Conversion:
        return Conversion.from_arrays(
            {field.name: arrays[field.name] for field in fields(Conversion) if field.name in arrays},
            prototypes=Prototypes.from_arrays(arrays, **{name: tuple(description.get(name, ())) for name in TEXTS}),
            summary=Summary(**description["summary"]),
            metric=EmbeddingMetric.from_arrays(arrays, **description["metric"]),
            temperature=temperature_of(description["temperature"]),
            seconds=description["seconds"],
        )


def by_kmeans(
    train: Embeddings,
    test: Embeddings,
    validation: Embeddings | None,
    prototypes: Prototypes,
    seed: int,
    metric: EmbeddingMetric,
    device: str,
    started: float,
) -> Conversion:
    """KMEx: the class of the nearest prototype as the prediction (paper 3.1).

    Args:
        train: the training split, in the space of the prototypes.
        test, validation: other splits, as embedded.
        prototypes: found by k-means per class.
        seed: of random images beside them.
        metric: of the prototypes.
        device: a torch device.
        started: when the conversion began, by `time.perf_counter`.
    """
    import torch

    from kmex_core.prototypes.fit import activated, nearest_distance, pairwise

    centers, classes = prototypes.centers, prototypes.classes
    # what they predict for the test split
    space_test = test.in_space(metric)
    nearest = activated(space_test.z, centers, device)
    predicted = classes[nearest]
    places, of_class = torch.from_numpy(centers).to(device), torch.from_numpy(classes).to(device)
    space_validation = None if validation is None else validation.in_space(metric)
    certainty = _Certainty(lambda z: -pairwise(z, places).square(), of_class, space_test, space_validation, predicted)
    published = metric.back(centers)  # the paper's diversity is that of the embedding itself
    summary = Summary(
        images=len(test),
        accuracy_black_box=metrics.black_box_accuracy(test.black_box, test.labels),
        accuracy_kmex=metrics.accuracy(predicted, test.labels),
        agreement=metrics.black_box_agreement(predicted, test.black_box),
        ghosting=metrics.ghosting(prototypes.count),
        diversity=metrics.diversity(centers, classes) if _several_in_a_class(classes) else None,
        diversity_reference=metrics.diversity(published, classes, "all", "reference") if len(classes) > 1 else None,
        **_spread(train, centers, classes, nearest_distance(space_test.z, centers, nearest), seed),
        calibration_error=certainty.error,
        metric=metric.name,
    )
    return Conversion(
        prototypes=prototypes,
        summary=summary,
        metric=metric,
        temperature=certainty.temperature,
        train_predicted=classes[prototypes.activated],
        test_predicted=predicted,
        test_activated=nearest,
        test_black_box=test.black_box,
        test_confidence=certainty.confidence,
        test_likeliest=certainty.likeliest,
        seconds=time.perf_counter() - started,
    )


def built_in(train: Embeddings, test: Embeddings, validation: Embeddings | None, model: BlackBox) -> Conversion:
    """The built-in prototypes of a model with its own similarity; it takes the role of the black box."""
    import torch

    from kmex_core.models.baseline import PrototypeHead
    from kmex_core.models.builtin import built_in_distance
    from kmex_core.prototypes.fit import ROWS, describe_prototypes

    started = time.perf_counter()
    head: Any = model.head
    device = next(head.parameters()).device
    with torch.no_grad():
        centers, classes = head.prototypes.cpu().numpy(), head.prototype_class.cpu().numpy()
        # (K, K) similarities among the prototypes
        among = head.similarity(head.prototypes).double().cpu().numpy()
        # the most similar prototype of each test image, and how far it is
        far, nearest = [], []
        for start in range(0, len(test), ROWS):
            low, which = built_in_distance(head, torch.from_numpy(test.z[start : start + ROWS]).to(device)).min(1)
            far.append(low.cpu().numpy())
            nearest.append(which.cpu().numpy())
    prototypes = describe_prototypes(
        train, model.info.class_names, centers, classes, lambda z: built_in_distance(head, z), str(device)
    )
    reference = None
    if len(classes) > 1:  # the released code rounds distances; a dot product needs none
        reference = (
            metrics.diversity(centers, classes, "all", "reference", squared=head.squared)
            if isinstance(head, PrototypeHead)
            else metrics.similarity_diversity(among, classes, "all")
        )
    accuracy = metrics.accuracy(test.black_box, test.labels)
    certainty = _Certainty(head, torch.arange(len(model.info.class_names)).to(device), test, validation, test.black_box)
    summary = Summary(
        images=len(test),
        accuracy_black_box=accuracy,
        accuracy_kmex=accuracy,
        agreement=1.0,
        ghosting=metrics.ghosting(prototypes.count),
        diversity=metrics.similarity_diversity(among, classes) if _several_in_a_class(classes) else None,
        diversity_reference=reference,
        **_spread(train, centers, classes, np.concatenate(far) if isinstance(head, PrototypeHead) else None),
        calibration_error=certainty.error,
        metric=EUCLIDEAN,
    )
    return Conversion(
        prototypes=prototypes,
        summary=summary,
        metric=EmbeddingMetric(),
        temperature=certainty.temperature,
        train_predicted=train.black_box,
        test_predicted=test.black_box,
        test_activated=np.concatenate(nearest),
        test_black_box=test.black_box,
        test_confidence=certainty.confidence,
        test_likeliest=certainty.likeliest,
        seconds=time.perf_counter() - started,
    )


def _spread(
    train: Embeddings, centers: np.ndarray, classes: np.ndarray, far: np.ndarray | None, seed: int = 0
) -> dict[str, float | None]:
    """The fields of a summary on how the prototypes are spread; None where similarity is a dot product.

    Args:
        train: the training split, in the space of the prototypes.
        centers, classes: (K, D) and (K,).
        far: (M,) distance of each test image to its nearest prototype; None for a dot product.
        seed: of random images.
    """
    names = ("effective", "effective_random", "effective_random_low", "effective_random_high", "effective_equidistant")
    if far is None:
        return dict.fromkeys((*names, "coverage_radius"))
    per_class = np.bincount(classes, minlength=int(train.labels.max()) + 1)  # a version may leave a class without any
    variance = metrics.class_variance(train.z, train.labels, len(per_class))
    # a version may have more prototypes of a class than it has images
    images = np.bincount(train.labels, minlength=len(per_class))
    drawn = np.minimum(per_class, images)
    (by_chance,) = metrics.random_effective(train.z, train.labels, drawn[None], variance, seed)
    groups = np.mean([metrics.equidistant_effective(k) for k in per_class[per_class > 0].tolist()])
    values = (metrics.effective_prototypes(centers, classes, variance), *astuple(by_chance), float(groups))
    return dict(zip(names, values, strict=True)) | {"coverage_radius": metrics.coverage_radius(far)}


def _several_in_a_class(classes: np.ndarray) -> bool:
    return bool(np.bincount(classes).max() > 1)


class _Certainty:
    """The posterior of the test images, each by a temperature that was fitted without it.

    Args:
        scores: embeddings (n, D) to scores (n, K), see `posterior.posterior`.
        score_class: (K,) their classes.
        test, validation: the embeddings, as `scores` takes them.
        predicted: (M,) the predicted class of each test image.
    """

    def __init__(
        self,
        scores: Callable[[torch.Tensor], torch.Tensor],
        score_class: torch.Tensor,
        test: Embeddings,
        validation: Embeddings | None,
        predicted: np.ndarray,
    ) -> None:
        import torch

        from kmex_core.prototypes.fit import ROWS
        from kmex_core.prototypes.posterior import calibrated, posterior

        self.temperature = calibrated(scores, score_class, test, validation)
        value = torch.from_numpy(self.temperature.of_test(test.labels)).float()[:, None, None]
        confidence, likeliest, classes = [], [], int(score_class.max()) + 1
        for start in range(0, len(test), ROWS):
            rows = slice(start, start + ROWS)
            with torch.no_grad():
                z = torch.from_numpy(test.z[rows]).to(score_class.device)
                by_class = posterior(scores(z), score_class, classes, value[rows].to(z.device)).cpu().numpy()
            confidence.append(by_class[np.arange(len(by_class)), predicted[rows]])
            likeliest.append(by_class.argmax(1))
        self.confidence, self.likeliest = np.concatenate(confidence), np.concatenate(likeliest)
        self.error = metrics.expected_calibration_error(self.confidence, predicted == test.labels)
