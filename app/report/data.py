"""What a report shows: a model's results as far as the store has them, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from app.selection import DEFAULT_K, SWEEP_SEEDS
from kmex_core.metrics.types import Evaluation
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.source import KMeans, PrototypeSource, Version
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.prototypes.sweep import Sweep
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.stored import stored_conversion, stored_evaluation
from kmex_core.stages.subject import Subject


@dataclass(frozen=True, eq=False)
class Results:
    """A model with prototypes, and what the store has of them.

    Attributes:
        subject: the model with its data.
        source: where its prototypes come from.
    """

    subject: Subject
    source: PrototypeSource

    @property
    def info(self) -> ModelInfo:
        return self.subject.info

    @property
    def title(self) -> str:
        """What decides by the prototypes: "KMEx", or the kind of model."""
        return self.source.title(MODEL_KINDS[self.info.kind].title)

    @property
    def kmeans(self) -> KMeans:
        """What KMEx finds in the embedding: the source, or beside built-in prototypes the default number."""
        if isinstance(self.source, Version):
            return self.source.base
        return self.source if isinstance(self.source, KMeans) else KMeans(DEFAULT_K)

    @cached_property
    def conversion(self) -> Conversion:
        return stored_conversion(self.subject, self.source)

    @cached_property
    def evaluation(self) -> Evaluation:
        return stored_evaluation(self.subject, self.source)

    @cached_property
    def sweeps(self) -> dict[int, Sweep]:
        """KMEx for every number of prototypes per class, by seed, as far as the store has them."""
        found = {seed: self.subject.sweep(self.kmeans.seeded(seed)).peek() for seed in SWEEP_SEEDS}
        return {seed: sweep for seed, sweep in found.items() if sweep is not None}

    @cached_property
    def suggestion(self) -> Evidence | None:
        return self.subject.suggestion(self.kmeans.metric).peek()
