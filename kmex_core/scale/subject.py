"""A model of the store whose embeddings are in parts, and whose prototypes an engine finds.

Its artifacts are those of `stages.subject`, with the same keys, so that pages and commands use what an engine has
computed. Where the training embedding does not fit into memory, what needs its rows has a sample of them instead; all
results then have other keys.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.specs import EmbeddingSpec, PrototypeSpec
from kmex_core.base.store import read_only
from kmex_core.base.tensor_file import Rows
from kmex_core.networks.arithmetic import EXACT, Arithmetic
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.source import SUGGESTED, KMeans, PrototypeSource
from kmex_core.prototypes.types import Conversion, Prototypes
from kmex_core.scale.clustering import COPIES
from kmex_core.scale.engine import Engine
from kmex_core.scale.extraction import sharded_split
from kmex_core.scale.figures import Figures, Measurement
from kmex_core.scale.measuring import Head
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.suggestion import ShardedSuggestion
from kmex_core.scale.sweep import SAMPLE
from kmex_core.stages.conversion import ModelConversion
from kmex_core.stages.embedding import SplitEmbedding
from kmex_core.stages.subject import Subject
from kmex_core.stages.suggestion import ModelSuggestion

ROW_BYTES = 64  # of memory for each image's predictions, while they are put together


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
        """The prototypes of a source; those of k-means by `measurement`.

        Raises:
            InputError: for other sources, when a split does not fit into memory.
        """
        if isinstance(source, KMeans):
            return ShardedConversion(self, source, arithmetic)
        self._check_whole("Built-in prototypes and edited ones are described and measured in one piece", arithmetic)
        return super().conversion(source, arithmetic)

    def prototypes(self, source: PrototypeSource) -> Prototypes:
        return self.figures(source).prototypes if isinstance(source, KMeans) else super().prototypes(source)

    def figures(self, source: KMeans, arithmetic: Arithmetic = EXACT) -> Figures:
        """All figures of the prototypes of k-means. What pages show is stored with them where memory has room for it:
        the embedding in one piece, and the conversion."""
        for split in self.data.splits:
            JoinedEmbedding(self, split, arithmetic).keep()
        if self.keeps_rows(arithmetic):
            self.conversion(source, arithmetic).get()
        return self.measurement(source, arithmetic).figures()

    def keeps_rows(self, arithmetic: Arithmetic = EXACT) -> bool:
        """Whether memory has room for what every image is predicted as."""
        return sum(self.sharded(split, arithmetic).rows for split in ("train", "test")) * ROW_BYTES <= self.memory

    def measurement(self, source: KMeans, arithmetic: Arithmetic = EXACT) -> Measurement:
        """The prototypes of k-means to find and measure, part by part."""
        validation = self.sharded("validation", arithmetic) if "validation" in self.data.splits else None
        head = Head(self.store.root.resolve(), self.info.name, self.device, self.weights)
        return Measurement(
            self.sharded("train", arithmetic),
            self.geometry(arithmetic).metric(source.metric),
            self._numbers(source),
            source.seed,
            self.engine,
            self.memory,
            self.sharded("test", arithmetic),
            validation,
            head if self.info.predicts else None,
            self.progress,
        )

    def _numbers(self, source: KMeans) -> list[int]:
        """For each class how many prototypes it has."""
        if source.k == SUGGESTED:
            found: list[int] = self.read(self.suggestion(source.metric)).suggested.tolist()
            return found
        return [source.k] * len(self.info.class_names)

    def grouped_by(self, column: str, root: str = "", skip_broken: bool = False) -> Subject:
        self._check_whole("Prototypes for another column are found and measured in one piece")
        return super().grouped_by(column, root, skip_broken)

    def _check_whole(self, why: str, arithmetic: Arithmetic = EXACT) -> None:
        for split in self.data.splits:
            rows = self.sharded(split, arithmetic)
            if sample_size(rows, self.memory) < rows.rows:
                raise InputError(
                    f"{why}, and the {split} split ({rows.rows:,} images) does not fit into memory. Use a smaller one, "
                    "or a machine with more memory."
                )

    def suggestion(self, metric: str = AUTO) -> ModelSuggestion:
        embedded, geometry = self._embedded(), self.geometry()
        return ShardedSuggestion(self, metric, embedded, geometry, lambda: self.sharded("train"), self.engine)

    def notes(self) -> list[str]:
        train = self.sharded("train")
        sample = sample_size(train, self.memory)
        if sample == train.rows:
            return super().notes()
        return [
            f"The training embedding does not fit into memory: the choice of the metric is from a sample of {sample:,} "
            f"of its {train.rows:,} rows.",
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

    def keep(self) -> None:
        """Store the rows in one piece, where they fit into memory; only one part is in memory for that.

        Raises:
            StoreError: when they cannot be written.
        """
        if self._whole and not self.exists() and not read_only():
            self.store.put(self.room, self.key, *self._packed())

    def _packed(self) -> tuple[Rows, dict[str, Any]]:
        rows = self._subject.sharded(self._split, self._how)
        number: np.dtype[Any] = np.dtype(np.int64)
        shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "z": (np.dtype(np.float32), (rows.rows, rows.dimensions)),
            "labels": (number, (rows.rows,)),
            "black_box": (number, (rows.rows,)),
        }
        return Rows(shapes, lambda: (block.embeddings.to_arrays() for block in rows.blocks())), self._origin()

    def pack(self, result: Embeddings) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Embeddings:
        return SplitEmbedding.unpack(arrays, description)


class ShardedConversion(ModelConversion):
    """The prototypes of k-means, found, described and measured part by part; the same as `ModelConversion`'s.

    Args:
        subject: the model and its data.
        source: of the prototypes.
        arithmetic: see `SplitEmbedding`.
    """

    def __init__(self, subject: ShardedSubject, source: KMeans, arithmetic: Arithmetic) -> None:
        embedded, geometry = subject._embedded(arithmetic), subject.geometry(arithmetic)
        super().__init__(subject, source, embedded, geometry, suggestion=subject.suggestion(source.metric))
        self._subject, self._kmeans, self._how = subject, source, arithmetic

    @cached_property
    def spec(self) -> PrototypeSpec:
        """That of `ModelConversion`, unless a sample of the test split decided on the metric or on the numbers."""
        spec, test = super().spec, self._subject.sharded("test", self._how)
        decided = self._kmeans.metric == AUTO or self._kmeans.k == SUGGESTED
        if decided and not spec.held_out and sample_size(test, self._subject.memory) < test.rows:
            return dataclasses.replace(spec, held_out=self._embedded.test.key)
        return spec

    def make(self) -> Conversion:
        """Find the prototypes.

        Raises:
            InputError: when there are too many images; see `clustering.clustered`.
        """
        subject, how = self._subject, self._how
        if not subject.keeps_rows(how):
            raise InputError(
                f"The predictions for {len(subject.data.split('train')) + len(subject.data.split('test')):,} images do "
                "not fit into memory. convert, and evaluate without relevance maps, do not need them."
            )
        return subject.measurement(self._kmeans, how).conversion()
