"""The embedding of a split by a model: computed once, in parts that allow an interrupted run to be resumed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Event
from kmex_core.base.specs import EmbeddingSpec
from kmex_core.base.tensor_file import Rows
from kmex_core.networks.arithmetic import EXACT, Arithmetic
from kmex_core.networks.types import NO_CLASS, Embeddings
from kmex_core.stages.bound import Bound
from kmex_core.stages.shards import Shards

BATCH = 128
GROUPS = {"train": "Training images", "test": "Test images", "validation": "Validation images"}
COLUMNS = ("z", "labels", "black_box")  # of `Embeddings`


@dataclass(frozen=True, eq=False)
class Embedded:
    """The embeddings of a model's splits.

    Attributes:
        train, test: of these splits.
        validation: that of the validation split, if there is one.
    """

    train: Artifact[EmbeddingSpec, Embeddings]
    test: Artifact[EmbeddingSpec, Embeddings]
    validation: Artifact[EmbeddingSpec, Embeddings] | None

    @property
    def held_out(self) -> str:
        """The key of the validation split's embedding, "" without one."""
        return self.validation.key if self.validation is not None else ""


class SplitEmbedding(Artifact[EmbeddingSpec, Embeddings]):
    """The embedding of a split by a model.

    An interrupted computation is resumed, with the same result (see `shards`).

    Args:
        bound: the model and its data.
        split: "train", "test" or "validation".
        arithmetic: how the network computes (each a separate result).
    """

    room = "embeddings"

    def __init__(self, bound: Bound, split: str, arithmetic: Arithmetic = EXACT) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._split, self._arithmetic = bound, split, arithmetic
        self._shards: Shards | None = None

    @cached_property
    def spec(self) -> EmbeddingSpec:
        info, preprocessing = self._bound.info, self._bound.info.preprocessing
        return EmbeddingSpec(
            info.backbone,
            self._bound.weights,
            self._bound.data.fingerprint,
            self._split,
            info.image_size,
            preprocessing.mean,
            preprocessing.std,
            self._arithmetic.mixed,
            preprocessing.geometry,
            info.head_key,
            self._arithmetic.key,
        )

    def get(self) -> Embeddings:
        """The embedding, from the store or computed now.

        Raises:
            InputError: see `extraction.extract`.
            StoreError: when the store cannot be written.
        """
        result = super().get()
        if self._shards is not None:  # only now, when the whole is written
            self._shards.remove()
            self._shards = None
        return result

    def make(self) -> Embeddings:
        """The embedding in memory; `get` never holds all of it (see `Shards`)."""
        return Embeddings.from_arrays(self._computed().whole().whole())

    def _packed(self) -> tuple[Arrays | Rows, dict[str, Any]]:
        self._shards = self._computed()
        return self._shards.whole(), self._origin()

    def _computed(self) -> Shards:
        from kmex_core.data.network_input import normalise
        from kmex_core.models import catalogue
        from kmex_core.networks.extraction import stream

        info, data = self._bound.info, self._bound.data
        total = len(data.split(self._split))

        def report(done: int) -> None:
            self.progress(Event("Computing embeddings", done, total, GROUPS[self._split]))

        with Shards(self.store, self.spec, total) as shards, contextlib.ExitStack() as stack:
            report(shards.rows)
            if shards.rows == total and total:
                return shards
            black_box = catalogue.load(self.store, info.name)
            rest = np.arange(shards.rows, total)
            batches = data.batches(self._split, BATCH, rest, info.preprocessing)
            parts = stream(
                black_box.encoder,
                black_box.head,
                stack.enter_context(contextlib.closing(batches)),
                checked_device(self._bound.device),
                self._arithmetic,
                lambda pixels: normalise(pixels, info.preprocessing),
            )
            for part in stack.enter_context(contextlib.closing(parts)):
                shards.add(part)
                report(shards.rows)
        return shards

    def pack(self, result: Embeddings) -> tuple[Arrays, dict[str, Any]]:
        return result.to_arrays(), {}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Embeddings:
        return Embeddings.from_arrays(arrays)


def embedded_rows(bound: Bound, split: str, rows: np.ndarray, arithmetic: Arithmetic = EXACT) -> Embeddings:
    """Some images of a split through the network now, in the batches in which all of them would go through it.

    Args:
        bound: the model and its data.
        split: "train", "test" or "validation".
        rows: (n,) places of the images in it, ascending; n ≥ 1.
        arithmetic: how the network computes.

    Raises:
        InputError: see `extraction.stream`.
    """
    from kmex_core.data.network_input import normalise
    from kmex_core.networks.extraction import stream

    network, preprocessing = bound.network, bound.info.preprocessing
    with contextlib.closing(bound.data.batches(split, BATCH, rows, preprocessing)) as batches:
        parts = stream(
            network.encoder,
            network.head,
            batches,
            checked_device(bound.device),
            arithmetic,
            lambda pixels: normalise(pixels, preprocessing),
        )
        with contextlib.closing(parts):
            found = list(parts)
    return Embeddings(*(np.concatenate([getattr(part, name) for part in found]) for name in COLUMNS))


class RegroupedEmbedding(SplitEmbedding):
    """The embedding of a split with another column as the class: the same network, which does not predict it.

    It is named by its own data and stored under the name of the `embedding` that it is made from; its predictions are
    −1, which is never right.
    """

    def __init__(self, bound: Bound, split: str, embedding: Artifact[EmbeddingSpec, Embeddings]) -> None:
        super().__init__(bound, split)
        self._embedding = embedding

    def get(self) -> Embeddings:
        """The embedding, see `SplitEmbedding.get`."""
        labels = self._bound.data.split(self._split).labels
        return Embeddings(self._bound.read(self._embedding).z, labels, np.full(len(labels), NO_CLASS, dtype=np.int64))
