"""Metrics of a model's prototypes from sums over the parts of its embedding; see `stages.evaluation`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.metrics.metric import Certainty
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.source import KMeans, PrototypeSource
from kmex_core.prototypes.types import Prototypes, Summary
from kmex_core.relevance.catalogue import MapKind
from kmex_core.scale.figures import Figures
from kmex_core.scale.measuring import BLACK_BOX, POSTERIOR, PUBLISHED
from kmex_core.scale.subject import ShardedSubject, sample_size
from kmex_core.stages.evaluation import ModelRun
from kmex_core.stages.subject import Subject


@dataclass(frozen=True)
class PartsRun(ModelRun):
    """See `metric.Run`. Metrics of the embedding come from `Figures`; those on relevance maps are on some test images,
    as everywhere. Only metrics that ask for all rows need them in memory."""

    @cached_property
    def _figures(self) -> Figures:
        assert isinstance(self.subject, ShardedSubject)
        assert isinstance(self.source, KMeans)
        return self.subject.figures(self.source)

    @property
    def summary(self) -> Summary:
        return self._figures.summary

    @property
    def prototypes(self) -> Prototypes:
        return self._figures.prototypes

    @property
    def variance(self) -> np.ndarray:
        return self._figures.variance

    @property
    def certainty(self) -> Certainty:
        counted, head = self._figures.held_out, self._figures.head
        return Certainty(
            counted.reliability(POSTERIOR),
            counted.reliability(PUBLISHED),
            counted.reliability(BLACK_BOX) if head else None,
        )

    @property
    def predictions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert isinstance(self.subject, ShardedSubject)
        if self.subject.keeps_rows():
            return super().predictions
        return np.empty(0, np.int64), np.empty(0, bool), np.empty(0, bool)

    @property
    def train(self) -> Embeddings:
        return self._whole("train")

    @property
    def test(self) -> Embeddings:
        return self._whole("test")

    def _whole(self, split: str) -> Embeddings:
        assert isinstance(self.subject, ShardedSubject)
        rows = self.subject.sharded(split)
        if sample_size(rows, self.subject.memory) < rows.rows:
            raise InputError(
                f"A metric needs the {split} split's {rows.rows:,} rows at once, which do not fit into memory. Name "
                "the metrics that you want by --metrics."
            )
        return self.subject.read(self.subject.embedding(split))


def run_of(subject: Subject, source: PrototypeSource, seed: int, images: int, maps: MapKind) -> ModelRun:
    """How a run is measured: part by part, where an engine computes prototypes of k-means."""
    by_parts = isinstance(subject, ShardedSubject) and isinstance(source, KMeans)
    return (PartsRun if by_parts else ModelRun)(subject, source, seed, images, maps)


def keeps_rows(subject: Subject) -> bool:
    """Whether memory has room for what every image is predicted as."""
    return not isinstance(subject, ShardedSubject) or subject.keeps_rows()
