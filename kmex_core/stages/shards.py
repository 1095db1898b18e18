"""Parts of an unfinished embedding: the next run continues from what an interrupted one has stored."""

from __future__ import annotations

import time
from types import TracebackType

import numpy as np

from kmex_core.base.errors import StoreError
from kmex_core.base.specs import EmbeddingSpec
from kmex_core.base.store import Store, read_only
from kmex_core.networks.types import Embeddings

ROOM = "shards"
EVERY = 10.0


class Shards:
    """Consecutive rows of an embedding, written to the store every `EVERY` seconds and when work stops.

    A quicker computation writes nothing, nor does a read-only process. A context manager: added rows are kept, however
    the work ends.

    Args:
        store: receives the shards.
        spec: of the embedding.
        total: number of rows of the whole.
    """

    def __init__(self, store: Store, spec: EmbeddingSpec, total: int) -> None:
        self._store, self._spec, self._key, self._total = store, spec, spec.key, total
        self._whole: Embeddings | None = None
        self._written = 0
        self._wrote = time.monotonic()
        self.rows = 0
        for name in self._names():
            stored = store.get(ROOM, name)
            if stored is None or name != self._name(self.rows):
                break  # damaged, or a gap before it: computed again from here
            self.add(Embeddings.from_arrays(stored[0]))
            self._written = self.rows

    def _name(self, start: int) -> str:
        return f"{self._key}-{start:012d}"

    def _names(self) -> list[str]:
        return [name for name in self._store.names(ROOM) if name.startswith(f"{self._key}-")]

    def __enter__(self) -> Shards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, StoreError):
            self._write()

    def add(self, part: Embeddings) -> None:
        """Add the next rows."""
        if self._whole is None:
            self._whole = Embeddings(
                np.empty((self._total, part.z.shape[1]), np.float32),
                np.empty(self._total, np.int64),
                np.empty(self._total, np.int64),
            )
        rows = slice(self.rows, self.rows + len(part))
        self._whole.z[rows], self._whole.labels[rows], self._whole.black_box[rows] = (
            part.z,
            part.labels,
            part.black_box,
        )
        self.rows += len(part)
        if self.rows < self._total and time.monotonic() - self._wrote > EVERY:
            self._write()

    def _write(self) -> None:
        if self._whole is None or self._written == self.rows or read_only():
            return
        rows = slice(self._written, self.rows)
        part = Embeddings(self._whole.z[rows], self._whole.labels[rows], self._whole.black_box[rows])
        self._store.put(ROOM, self._name(self._written), part.to_arrays(), {"spec": self._spec.described()})
        self._written, self._wrote = self.rows, time.monotonic()

    def whole(self) -> Embeddings:
        """All rows, once complete."""
        assert self._whole is not None
        assert self.rows == self._total
        return self._whole

    def remove(self) -> None:
        """Remove the shards, after the embedding was stored."""
        for name in [] if read_only() else self._names():
            self._store.path(ROOM, name).unlink(missing_ok=True)
