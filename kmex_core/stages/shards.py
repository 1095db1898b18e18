"""Parts of an unfinished embedding: the next run continues from what an interrupted one has stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import Arrays
from kmex_core.base.specs import EmbeddingSpec
from kmex_core.base.store import Store, read_only
from kmex_core.base.tensor_file import Rows
from kmex_core.networks.types import Embeddings

ROOM = "shards"
EVERY = 10.0
HELD = 16 * 2**20  # bytes of rows in memory, at most


class Shards:
    """Consecutive rows of an embedding, written to the store every `EVERY` seconds, when they take `HELD` bytes, and
    when work stops.

    A quicker computation writes nothing, nor does a read-only process, which holds all rows. A context manager: added
    rows are kept, however the work ends.

    Args:
        store: receives the shards.
        spec: of the embedding.
        total: number of rows of the whole.
    """

    def __init__(self, store: Store, spec: EmbeddingSpec, total: int) -> None:
        self._store, self._spec, self._key, self._total = store, spec, spec.key, total
        self._dimensions = 0
        self._stored: list[str] = []
        self._held: list[Embeddings] = []
        self._bytes = 0  # of those
        self._written = 0
        self._wrote = time.monotonic()
        self.rows = 0
        for name in self._names():
            stored = store.get(ROOM, name)
            if stored is None or name != self._name(self.rows):
                break  # damaged, or a gap before it: computed again from here
            part = Embeddings.from_arrays(stored[0])
            if self.rows + len(part) > total or part.z.shape[1] != (self._dimensions or part.z.shape[1]):
                break  # of another embedding
            self._stored.append(name)
            self._dimensions, self.rows = part.z.shape[1], self.rows + len(part)
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
        self._dimensions = part.z.shape[1]
        self._held.append(part)
        self._bytes += part.z.nbytes
        self.rows += len(part)
        late = time.monotonic() - self._wrote > EVERY
        if self.rows < self._total and (late or self._bytes > HELD):
            self._write()

    def _write(self) -> None:
        if not self._held or read_only():
            return
        name = self._name(self._written)
        rows = Rows(self._shapes(self.rows - self._written), lambda: (part.to_arrays() for part in self._held))
        self._store.put(ROOM, name, rows, {"spec": self._spec.described()})
        self._stored.append(name)
        self._held.clear()
        self._written, self._wrote, self._bytes = self.rows, time.monotonic(), 0

    def _shapes(self, rows: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        number = np.dtype(np.int64)
        return {
            "z": (np.dtype(np.float32), (rows, self._dimensions)),
            "labels": (number, (rows,)),
            "black_box": (number, (rows,)),
        }

    def whole(self) -> Rows:
        """All rows, once complete; they can be read once.

        Raises:
            InputError: when rows are missing.
        """
        if self.rows != self._total:
            raise InputError(f"Expected {self._total:,} images, got {self.rows:,}.")
        return Rows(self._shapes(self._total), self._parts)

    def _parts(self) -> Iterator[Arrays]:
        for name in self._stored:
            stored = self._store.get(ROOM, name)
            if stored is None:
                raise StoreError(f"{self._store.path(ROOM, name)} was damaged or removed just now. Try again.")
            yield stored[0]
        while self._held:
            yield self._held.pop(0).to_arrays()

    def remove(self) -> None:
        """Remove the shards, after the embedding was stored."""
        for name in [] if read_only() else self._names():
            self._store.path(ROOM, name).unlink(missing_ok=True)
