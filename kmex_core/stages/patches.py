"""Patch prototypes of a model, how an image's patches classify it, and its concept map."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.artifact import Artifact
from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Event
from kmex_core.base.specs import EmbeddingSpec, PatchSpec, PrototypeSpec
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import EUCLIDEAN, EmbeddingMetric
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import LAST, SEVERAL, PatchConversion, PatchPrototypes
from kmex_core.stages.bound import Bound
from kmex_core.stages.geometry import ModelGeometry

if TYPE_CHECKING:
    import torch

    from kmex_core.prototypes.patches import PatchKMEx

BATCH = 32  # of several blocks, 784 positions of 896 channels for each image


class ModelPatches(Artifact[PatchSpec, PatchConversion]):
    """`k` patch prototypes per class, and the accuracy of both rules on the test split.

    Args:
        bound: the model and its data.
        source: of the prototypes.
        conversion: the spec of its conversion, which names the network, the data and the metric.
        geometry: the model's metric, which "auto" stands for.
        train, test: the embeddings of both splits: a metric is fitted on one, the black box has classified the other.
        blocks: whose positions the patches are, one of `types.BLOCKS`; those of several have no metric.
    """

    room = "patches"

    def __init__(
        self,
        bound: Bound,
        source: KMeans,
        conversion: PrototypeSpec,
        geometry: ModelGeometry,
        train: Artifact[EmbeddingSpec, Embeddings],
        test: Artifact[EmbeddingSpec, Embeddings],
        blocks: str = LAST,
    ) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._source, self._conversion = bound, source, conversion
        self._geometry, self._train, self._test, self.blocks = geometry, train, test, blocks

    @cached_property
    def spec(self) -> PatchSpec:
        spec = self._conversion
        if self.blocks == SEVERAL:
            return PatchSpec(spec.embedding, spec.k, spec.seed, EUCLIDEAN, "", self.blocks)
        return PatchSpec(spec.embedding, spec.k, spec.seed, spec.metric, spec.held_out, self.blocks)

    def why_not(self) -> str:
        """Why the network has no such patches; "" when it has. Loads the network."""
        try:
            self._module(EmbeddingMetric())
        except InputError as error:
            return str(error)
        return ""

    def module(self, conversion: PatchConversion) -> PatchKMEx:
        """The classifier of a result of this artifact, on the device; it draws concept maps."""
        module = self._module(conversion.metric)
        module.take(conversion.prototypes, len(self._bound.info.class_names))
        return module

    def _module(self, metric: EmbeddingMetric) -> PatchKMEx:
        from kmex_core.prototypes.patches import PatchKMEx

        return PatchKMEx(self._bound.network.encoder, self._bound.info.image_size, metric, self.blocks)

    def make(self) -> PatchConversion:
        """Find the prototypes, then classify the test images.

        Raises:
            InputError: see `patches.PatchKMEx` and `patches.fit_patches`.
        """
        import torch

        from kmex_core.prototypes.patches import fit_patches

        started = time.perf_counter()
        metric = EmbeddingMetric() if self.blocks == SEVERAL else self._geometry.metric(self._source.metric)
        model = self._module(metric)
        prototypes = fit_patches(
            model,
            self._batches,
            self._bound.data.split("train").labels,
            len(self._bound.info.class_names),
            self._source.k,
            self._source.seed,
            self.progress,
        )
        test = self._bound.read(self._test)
        by_similarity, by_vote = [], []
        with torch.no_grad():
            for indices, images, _ in self._batches("test", None):
                decision = model.decide(model.encode(images))
                by_similarity.append(decision.predicted.cpu().numpy())
                by_vote.append(decision.voted.cpu().numpy())
                self.progress(Event("Classifying test images", int(indices[-1]) + 1, len(test)))
        rules = {"similarity": np.concatenate(by_similarity), "vote": np.concatenate(by_vote)}
        return PatchConversion(
            prototypes,
            metric,
            self.blocks,
            by_similarity=rules["similarity"],
            by_vote=rules["vote"],
            accuracy_black_box=metrics.black_box_accuracy(test.black_box, test.labels),
            accuracy_similarity=metrics.accuracy(rules["similarity"], test.labels),
            accuracy_vote=metrics.accuracy(rules["vote"], test.labels),
            agreement_similarity=metrics.black_box_agreement(rules["similarity"], test.black_box),
            agreement_vote=metrics.black_box_agreement(rules["vote"], test.black_box),
            seconds=time.perf_counter() - started,
        )

    def _batches(self, split: str, rows: np.ndarray | None) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
        """See `fit_patches`."""
        from kmex_core.networks.passes import device_of

        return self._bound.inputs(split, BATCH, rows, device_of(self._bound.network.model))

    def pack(self, result: PatchConversion) -> tuple[Arrays, dict[str, Any]]:
        return result.prototypes.to_arrays() | result.metric.to_arrays() | result.to_arrays(), {
            "measured": result.to_description(),
            "metric": result.metric.to_description(),
            "model": self._bound.info.name,
        }

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> PatchConversion:
        return PatchConversion.from_arrays(
            {field.name: arrays[field.name] for field in fields(PatchConversion) if field.name in arrays},
            prototypes=PatchPrototypes.from_arrays(arrays),
            metric=EmbeddingMetric.from_arrays(arrays, **description["metric"]),
            **description["measured"],
        )
