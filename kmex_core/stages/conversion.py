"""Prototypes of a model's embedding, their description, and how well they replace the black box."""

from __future__ import annotations

import time
from dataclasses import asdict, astuple, fields
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Progress
from kmex_core.base.specs import EmbeddingSpec, PrototypeSpec
from kmex_core.models.catalogue import BlackBox
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import BuiltIn, KMeans, PrototypeSource
from kmex_core.prototypes.types import Conversion, Prototypes, Summary
from kmex_core.stages.bound import Bound


class ModelConversion(Artifact[PrototypeSpec, Conversion]):
    """The prototypes of a source in a model's embedding, described by the training and measured on the test split.

    Args:
        bound: the model and its data.
        source: of the prototypes.
        train, test: the embeddings of both splits.
    """

    room = "prototypes"

    def __init__(
        self,
        bound: Bound,
        source: PrototypeSource,
        train: Artifact[EmbeddingSpec, Embeddings],
        test: Artifact[EmbeddingSpec, Embeddings],
    ) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._source, self._train, self._test = bound, source, train, test

    @cached_property
    def spec(self) -> PrototypeSpec:
        return self._source.spec(self._train.key)

    def summary(self) -> Summary | None:
        """The summary of a stored conversion, without reading its arrays; else None."""
        description = self.described()
        try:
            return Summary(**description["summary"]) if description is not None else None
        except (KeyError, TypeError):
            return None  # another version's: recomputed when next needed

    def make(self) -> Conversion:
        """Find the prototypes.

        Raises:
            InputError: for built-in prototypes of a black box; see `fit_prototypes` and `extraction.extract`.
        """
        info = self._bound.info
        if isinstance(self._source, BuiltIn) and info.kind == "blackbox":
            raise InputError(
                f"'{info.name}' is a black box without built-in prototypes. Convert it with k = 1 or more."
            )
        train, test = self._bound.read(self._train), self._bound.read(self._test)
        if isinstance(self._source, KMeans):
            device = checked_device(self._bound.device)
            return by_kmeans(train, test, info.class_names, self._source, device, self.progress)
        return built_in(train, test, self._bound.network)

    def pack(self, result: Conversion) -> tuple[Arrays, dict[str, Any]]:
        return result.prototypes.to_arrays() | result.to_arrays(), {
            "summary": asdict(result.summary),
            "seconds": result.seconds,
            "model": self._bound.info.name,
        }

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Conversion:
        return Conversion.from_arrays(
            {field.name: arrays[field.name] for field in fields(Conversion) if field.name in arrays},
            prototypes=Prototypes.from_arrays(arrays),
            summary=Summary(**description["summary"]),
            seconds=description["seconds"],
        )


def by_kmeans(
    train: Embeddings, test: Embeddings, class_names: tuple[str, ...], source: KMeans, device: str, progress: Progress
) -> Conversion:
    """KMEx: prototypes found by k-means per class, and the class of the nearest as the prediction (paper 3.1)."""
    from kmex_core.prototypes.fit import activated, fit_prototypes, nearest_distance

    started = time.perf_counter()
    # prototypes of the training split
    prototypes = fit_prototypes(train, class_names, source.k, source.seed, device, progress)
    centers, classes = prototypes.centers, prototypes.classes
    # what they predict for the test split
    nearest = activated(test.z, centers, device)
    predicted = classes[nearest]
    summary = Summary(
        images=len(test),
        accuracy_black_box=metrics.accuracy(test.black_box, test.labels),
        accuracy_kmex=metrics.accuracy(predicted, test.labels),
        agreement=metrics.agreement(test.black_box, predicted),
        ghosting=metrics.ghosting(prototypes.count),
        diversity=metrics.diversity(centers, classes) if _several_in_a_class(classes) else None,
        diversity_reference=metrics.diversity(centers, classes, "all", "reference") if len(classes) > 1 else None,
        **_spread(train, centers, classes, nearest_distance(test.z, centers, nearest), source.seed),
    )
    return Conversion(
        prototypes=prototypes,
        summary=summary,
        train_predicted=classes[prototypes.activated],
        test_predicted=predicted,
        test_activated=nearest,
        test_black_box=test.black_box,
        seconds=time.perf_counter() - started,
    )


def built_in(train: Embeddings, test: Embeddings, model: BlackBox) -> Conversion:
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
    summary = Summary(
        images=len(test),
        accuracy_black_box=accuracy,
        accuracy_kmex=accuracy,
        agreement=1.0,
        ghosting=metrics.ghosting(prototypes.count),
        diversity=metrics.similarity_diversity(among, classes) if _several_in_a_class(classes) else None,
        diversity_reference=reference,
        **_spread(train, centers, classes, np.concatenate(far) if isinstance(head, PrototypeHead) else None),
    )
    return Conversion(
        prototypes=prototypes,
        summary=summary,
        train_predicted=train.black_box,
        test_predicted=test.black_box,
        test_activated=np.concatenate(nearest),
        test_black_box=test.black_box,
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
    per_class = np.bincount(classes)
    variance = metrics.class_variance(train.z, train.labels, len(per_class))
    by_chance = metrics.random_effective(train.z, train.labels, per_class, variance, seed)
    groups = np.mean([metrics.equidistant_effective(k) for k in per_class[per_class > 0].tolist()])
    values = (metrics.effective_prototypes(centers, classes, variance), *astuple(by_chance), float(groups))
    return dict(zip(names, values, strict=True)) | {"coverage_radius": metrics.coverage_radius(far)}


def _several_in_a_class(classes: np.ndarray) -> bool:
    return bool(np.bincount(classes).max() > 1)
