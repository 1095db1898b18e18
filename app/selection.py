"""What is looked at: a model, and by which prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.source import KMeans, PrototypeSource, Version, sources_of

DEFAULT_K = 5
KS = range(1, 21)  # prototypes per class that can be chosen
SWEEP_SEEDS = tuple(range(5))  # of the curves over them
SMALL = 4_000_000  # numbers in an embedding for which all of them together take seconds


@dataclass(frozen=True)
class Selection:
    """A model of the store with prototypes.

    Attributes:
        model: the model.
        source: where its prototypes come from.
    """

    model: ModelInfo
    source: PrototypeSource

    @property
    def title(self) -> str:
        """What decides by the prototypes: "KMEx", or the kind of model."""
        return self.source.title(MODEL_KINDS[self.model.kind].title)

    @property
    def is_kmex(self) -> bool:
        """Whether KMEx found the prototypes: not so where a prototypical model is looked at by its built-in ones."""
        return not self.source.built_in

    @property
    def has_black_box(self) -> bool:
        """Whether KMEx is compared with a black box: not so for built-in prototypes, nor beside a network that predicts
        none of the classes."""
        return self.is_kmex and self.model.predicts

    @property
    def kmeans(self) -> KMeans:
        """What KMEx finds in the embedding: the source, what a version edited, or beside built-in prototypes the
        default number."""
        if isinstance(self.source, Version):
            return self.source.base
        return self.source if isinstance(self.source, KMeans) else KMeans(DEFAULT_K)

    @property
    def version(self) -> Version | None:
        """The edited prototypes that are looked at, if they are."""
        return self.source if isinstance(self.source, Version) else None

    @property
    def per_class(self) -> int:
        """Prototypes per class (of FLINT on average)."""
        return self.source.per_class(self.model.k)


def all_sources(info: ModelInfo, kmeans: KMeans, versions: Sequence[Version] = ()) -> list[Selection]:
    """A model by each of its sources of prototypes: built-in ones first, those that KMEx finds, then versions."""
    return [Selection(info, source) for source in [*sources_of(info.kind, kmeans.k, kmeans.metric), *versions]]
