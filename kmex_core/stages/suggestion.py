"""How many prototypes each class of a model needs, from its training images."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.files import Arrays
from kmex_core.base.specs import SuggestionSpec
from kmex_core.prototypes.suggestion import SEED, Evidence, evidence
from kmex_core.stages.bound import Bound
from kmex_core.stages.embedding import Embedded
from kmex_core.stages.geometry import ModelGeometry


class ModelSuggestion(Artifact[SuggestionSpec, Evidence]):
    """The evidence for each number of prototypes per class, and the number suggested, see `Evidence`.

    Args:
        bound: the model and its data.
        metric: of the embedding, see `metric.OPTIONS`.
        reach: the largest number.
        embedded: the embeddings of its splits.
        geometry: the model's metric, which "auto" stands for.
    """

    room = "suggestions"

    def __init__(self, bound: Bound, metric: str, reach: int, embedded: Embedded, geometry: ModelGeometry) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._metric, self._reach = bound, metric, reach
        self._embedded, self._geometry = embedded, geometry

    @cached_property
    def spec(self) -> SuggestionSpec:
        return SuggestionSpec(self._embedded.train.key, self._reach, SEED, self._metric, self._embedded.held_out)

    def make(self) -> Evidence:
        """Gather the evidence.

        Raises:
            InputError: see `fit_prototypes` and `extraction.extract`.
        """
        import torch

        from kmex_core.prototypes.fit import checked_sizes

        train = self._bound.read(self._embedded.train).in_space(self._geometry.metric(self._metric))
        checked_sizes(train, self._bound.info.class_names)
        z = torch.from_numpy(train.z).to(checked_device(self._bound.device))
        return evidence(z, train.labels, self._reach, SEED, self.progress)

    def pack(self, result: Evidence) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {"model": self._bound.info.name}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Evidence:
        return Evidence.from_arrays(arrays)
