"""Patch prototypes of a model, and the vote of an image's patches (paper A.4)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Event
from kmex_core.base.specs import EmbeddingSpec, PatchSpec, PrototypeSpec
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import PatchConversion, PatchPrototypes
from kmex_core.stages.bound import Bound
from kmex_core.stages.geometry import ModelGeometry, metric_of

if TYPE_CHECKING:
    import torch

BATCH = 64


class ModelPatches(Artifact[PatchSpec, PatchConversion]):
    """`k` patch prototypes per class, and the accuracy of the vote on the test split.

    Args:
        bound: the model and its data.
        source: of the prototypes.
        conversion: the spec of its conversion, which names the network, the data and the metric.
        geometry: the model's metric, which "auto" stands for.
        train: the embedding of the training split, which a metric is fitted on.
    """

    room = "patches"

    def __init__(
        self,
        bound: Bound,
        source: KMeans,
        conversion: PrototypeSpec,
        geometry: ModelGeometry,
        train: Artifact[EmbeddingSpec, Embeddings],
    ) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._source, self._conversion = bound, source, conversion
        self._geometry, self._train = geometry, train

    @cached_property
    def spec(self) -> PatchSpec:
        spec = self._conversion
        return PatchSpec(spec.embedding, spec.k, spec.seed, spec.metric, spec.held_out)

    def make(self) -> PatchConversion:
        """Find the prototypes, then let the test images vote.

        Raises:
            InputError: see `patches.PatchKMEx` and `patches.fit_patches`.
        """
        import torch

        from kmex_core.networks.memory import in_portions
        from kmex_core.prototypes.patches import PatchKMEx, fit_patches

        started = time.perf_counter()
        info, data, network = self._bound.info, self._bound.data, self._bound.network
        metric = metric_of(self._source.metric, self._bound, self._geometry, self._train)
        model = PatchKMEx(network.encoder, info.image_size, metric).to(next(network.model.parameters()).device)
        prototypes = fit_patches(
            model,
            self._batches,
            data.split("train").labels,
            len(info.class_names),
            self._source.k,
            self._source.seed,
            self.progress,
        )
        total, right, right_black_box, agreeing, done = len(data.split("test")), 0, 0, 0, 0
        with torch.no_grad():
            for _, images, labels in self._batches("test", None):
                voted = model.vote(model.encode(images)).predicted.cpu()
                black_box = in_portions(network.model, images).argmax(1).cpu()
                right, agreeing = right + int((voted == labels).sum()), agreeing + int((voted == black_box).sum())
                right_black_box += int((black_box == labels).sum())
                done += len(labels)
                self.progress(Event("Measuring the vote", done, total))
        return PatchConversion(
            prototypes,
            accuracy=right / max(1, total),
            accuracy_black_box=right_black_box / max(1, total),
            agreement=agreeing / max(1, total),
            seconds=time.perf_counter() - started,
            metric=metric.name,
        )

    def _batches(self, split: str, rows: np.ndarray | None) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
        """Indices (n,), normalised images (n, 3, S, S) and labels (n,) of some images of a split, or of all."""
        from kmex_core.data.network_input import normalise

        info, data = self._bound.info, self._bound.data
        device = next(self._bound.network.model.parameters()).device
        order, start = np.arange(len(data.split(split))) if rows is None else rows, 0
        for pixels, labels in data.batches(split, BATCH, order):
            images = normalise(pixels.to(device), info.mean, info.std)
            yield order[start : start + len(labels)], images, labels
            start += len(labels)

    def pack(self, result: PatchConversion) -> tuple[Arrays, dict[str, Any]]:
        return result.prototypes.to_arrays(), {
            "measured": result.to_description(),
            "model": self._bound.info.name,
        }

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> PatchConversion:
        return PatchConversion(PatchPrototypes.from_arrays(arrays), **description["measured"])
