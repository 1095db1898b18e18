"""A model of the store whose embeddings are in parts, and whose prototypes an engine finds.

Its artifacts are those of `stages.subject`, with the same keys, so that pages and commands use what an engine has
computed. Where the training embedding does not fit into memory, what needs its rows has a sample of them instead; all
results then have other keys.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.specs import EmbeddingSpec
from kmex_core.networks.arithmetic import EXACT, Arithmetic
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import SUGGESTED, KMeans, PrototypeSource
from kmex_core.prototypes.types import Conversion
from kmex_core.scale.clustering import COPIES, clustered
from kmex_core.scale.description import described
from kmex_core.scale.engine import Engine
from kmex_core.scale.extraction import sharded_split
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.suggestion import ShardedSuggestion
from kmex_core.scale.sweep import SAMPLE, sets_of
from kmex_core.stages.conversion import ModelConversion, by_kmeans
from kmex_core.stages.embedding import SplitEmbedding
from kmex_core.stages.subject import Subject
from kmex_core.stages.suggestion import ModelSuggestion


@dataclass(frozen=True, eq=False)
class ShardedSubject(Subject):
    """A model in the store with its data, computed by an engine.

    Attributes:
        engine: connected.
        memory: bytes that one task, or this process, may use for rows.
        data_root, skip_broken: where workers find the data, see `subject_of`.
    """

    engine: Engine = field(kw_only=True)
    memory: int = field(kw_only=True)
    data_root: str = field(default="", kw_only=True)
    skip_broken: bool = field(default=False, kw_only=True)
    _opened: dict[tuple[str, Arithmetic], ShardedEmbedding] = field(default_factory=dict, kw_only=True)

    def sharded(self, split: str, arithmetic: Arithmetic = EXACT) -> ShardedEmbedding:
        """The sharded embedding of a split, computed where it is missing, see `extraction.sharded_split`."""
        key = split, arithmetic
        if key not in self._opened:
            self._opened[key] = sharded_split(
                self, split, self.engine, "", self.data_root, self.skip_broken, arithmetic
            )
        return self._opened[key]

    def embedding(self, split: str, arithmetic: Arithmetic = EXACT) -> Artifact[EmbeddingSpec, Embeddings]:
        return JoinedEmbedding(self, split, arithmetic)

    def conversion(self, source: PrototypeSource, arithmetic: Arithmetic = EXACT) -> ModelConversion:
        if not isinstance(source, KMeans):
            return super().conversion(source, arithmetic)
        return ShardedConversion(self, source, arithmetic)

    def suggestion(self, metric: str = AUTO) -> ModelSuggestion:
        embedded, geometry = self._embedded(), self.geometry()
        return ShardedSuggestion(self, metric, embedded, geometry, lambda: self.sharded("train"), self.engine)

    def notes(self) -> list[str]:
        train = self.sharded("train")
        sample = sample_size(train, self.memory)
        if sample == train.rows:
            return super().notes()
        return [
            f"The training embedding does not fit into memory: chance levels, and the choice of the metric, are from a "
            f"sample of {sample:,} of its {train.rows:,} rows.",
            *super().notes(),
        ]


def sample_size(embedding: ShardedEmbedding, memory: int) -> int:
    """How many rows are in memory at once where all are needed: all if they fit, else as many as `SAMPLE`."""
    row = embedding.dimensions * 4 * COPIES
    return embedding.rows if embedding.rows * row <= memory else min(embedding.rows, SAMPLE, max(1, memory // row))


class JoinedEmbedding(Artifact[EmbeddingSpec, Embeddings]):
    """The embedding of a split in one piece, from its parts; of one that does not fit into memory, a sample.

    Args:
        subject: the model and its data.
        split, arithmetic: see `SplitEmbedding`.
    """

    room = SplitEmbedding.room

    def __init__(self, subject: ShardedSubject, split: str, arithmetic: Arithmetic = EXACT) -> None:
        super().__init__(subject.store, subject.progress)
        self._subject, self._split, self._how = subject, split, arithmetic

    @cached_property
    def _size(self) -> int:
        sharded = self._subject.sharded(self._split, self._how)
        return sample_size(sharded, self._subject.memory)

    @property
    def _whole(self) -> bool:
        return self._size == self._subject.sharded(self._split, self._how).rows

    @cached_property
    def spec(self) -> EmbeddingSpec:
        spec = SplitEmbedding(self._subject, self._split, self._how).spec
        if self._whole:
            return spec
        return dataclasses.replace(spec, split=f"{self._split}, a sample of {self._size}")

    def get(self) -> Embeddings:
        """The rows, from the store or joined now; a sample is not stored."""
        return super().get() if self._whole else self.make()

    def make(self) -> Embeddings:
        return self._subject.sharded(self._split, self._how).sample(self._size, 0).embeddings

    def pack(self, result: Embeddings) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Embeddings:
        return SplitEmbedding.unpack(arrays, description)


class ShardedConversion(ModelConversion):
    """The prototypes of k-means, found and described part by part; the same as `ModelConversion`'s.

    Args:
        subject: the model and its data.
        source: of the prototypes.
        arithmetic: see `SplitEmbedding`.
    """

    def __init__(self, subject: ShardedSubject, source: KMeans, arithmetic: Arithmetic) -> None:
        embedded, geometry = subject._embedded(arithmetic), subject.geometry(arithmetic)
        super().__init__(subject, source, embedded, geometry, suggestion=subject.suggestion(source.metric))
        self._subject, self._kmeans, self._how = subject, source, arithmetic

    def make(self) -> Conversion:
        """Find the prototypes.

        Raises:
            InputError: when another split than the training split does not fit into memory; see
                `clustering.clustered`.
        """
        subject, source = self._subject, self._kmeans
        for split in subject.data.splits:
            sharded = subject.sharded(split, self._how)
            if split != "train" and sample_size(sharded, subject.memory) < sharded.rows:
                raise InputError(
                    f"The {split} split ({sharded.rows:,} images) does not fit into memory. Use a smaller one, or "
                    "--embeddings with --held-out, which measures it part by part, as sweep does."
                )
        train = subject.sharded("train", self._how)
        started, embedded = time.perf_counter(), self._embedded
        rows, test = subject.read(embedded.train), subject.read(embedded.test)
        validation = None if embedded.validation is None else subject.read(embedded.validation)
        metric = self._geometry.metric(source.metric)
        work = train.results / f"work-{self.key}"
        clusters = clustered(
            train, metric, self._numbers(), source.seed, subject.engine, subject.memory, subject.progress
        )
        prototypes = described(train, metric, sets_of(clusters), subject.engine, work, subject.progress)
        device = checked_device(subject.device)
        result = by_kmeans(rows.in_space(metric), test, validation, prototypes, source.seed, metric, device, started)
        shutil.rmtree(work, ignore_errors=True)
        return result

    def _numbers(self) -> list[list[int]]:
        """For each class how many prototypes it has."""
        k, classes = self._kmeans.k, len(self._subject.info.class_names)
        if k == SUGGESTED and self._suggestion is not None:
            return [[each] for each in self._subject.read(self._suggestion).suggested.tolist()]
        return [[k]] * classes
