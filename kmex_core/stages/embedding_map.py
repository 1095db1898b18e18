"""The embedding map of a model: UMAP fitted on its training images, all other points placed by transform."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kmex_core.analysis.types import Projection
from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.files import Arrays
from kmex_core.base.specs import EmbeddingSpec, ProjectionSpec
from kmex_core.networks.types import Embeddings
from kmex_core.stages.bound import Bound

SAMPLE = ProjectionSpec("").sample


class EmbeddingMap(Artifact[ProjectionSpec, Projection]):
    """A model's embedding in two dimensions (up to a minute).

    Args:
        bound: the model and its data.
        train, test: the embeddings of both splits.
        sample: how many training images UMAP is fitted on at most; the others are placed among them.
        seed: equal seeds give equal embedding maps.
    """

    room = "projections"

    def __init__(
        self,
        bound: Bound,
        train: Artifact[EmbeddingSpec, Embeddings],
        test: Artifact[EmbeddingSpec, Embeddings],
        sample: int = SAMPLE,
        seed: int = 0,
    ) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._train, self._test, self._sample, self._seed = bound, train, test, sample, seed

    @cached_property
    def spec(self) -> ProjectionSpec:
        return ProjectionSpec(self._train.key, self._sample, self._seed)

    def make(self) -> Projection:
        """Compute the embedding map.

        Raises:
            InputError: see `projection.fit`.
        """
        from kmex_core.analysis import projection

        train, test = self._bound.read(self._train), self._bound.read(self._test)
        return projection.fit(train, test, self.spec, self.progress, checked_device(self._bound.device))

    def pack(self, result: Projection) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {"measured": result.to_description(), "model": self._bound.info.name}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Projection:
        return Projection.from_arrays(arrays, **description["measured"])
