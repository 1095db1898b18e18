"""Attributes of the rows of a sharded embedding: a file for each of its parts, beside them.

A folder `attributes` has `part-000000.safetensors`, …, each with the attributes of the rows of the part of that number
and which of them are known, a bit for each, and `attributes.json`, written last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import digest, read_file, write_bytes, write_file
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.scale.sharded import ShardedEmbedding

FOLDER, ABOUT = "attributes", "attributes.json"
FILE = re.compile(r"attributes\.json|part-\d{6,9}\.safetensors")
KIND, VERSION = "attributes of a sharded embedding", 1
MOST_ABOUT, MOST_ATTRIBUTES = 4 * 2**20, 10_000  # bytes, and columns


@dataclass(frozen=True, eq=False)
class AttributeRows:
    """A attributes of the rows of a sharded embedding.

    Attributes:
        embedding: the rows.
        names: of the attributes.
        digest: of what the table has, see `written`.
    """

    embedding: ShardedEmbedding
    names: tuple[str, ...]
    digest: str

    @classmethod
    def open(cls, embedding: ShardedEmbedding) -> Self:
        """Those of an embedding; only what describes them is read.

        Raises:
            InputError: when it has none, or they are not such.
        """
        path = embedding.folder / FOLDER / ABOUT
        if path.is_symlink() or not path.is_file():
            raise InputError(
                f"The embeddings of {embedding.folder} have no attributes. They come with the model's data set "
                "(attributes --engine), or from boolean columns of parquet files."
            )
        try:
            if path.stat().st_size > MOST_ABOUT:
                raise ValueError(f"it is larger than {MOST_ABOUT // 2**20} MB")
            names, of = _checked(read_json(path.read_bytes()), embedding)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{path} is damaged or was not written by this program: {why}.") from error
        return cls(embedding, names, of)

    def part(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, A) bool, the attributes of the rows of a part, and which of them are known.

        Raises:
            InputError: when its file is missing or damaged.
        """
        path = part_path(self.embedding.folder, number)
        try:
            arrays, _ = read_file(path)
            return _unpacked(arrays["has"], self.shape(number)), _unpacked(arrays["known"], self.shape(number))
        except (FileNotFoundError, StoreError, KeyError, ValueError) as error:
            raise InputError(
                f"{path} is missing or damaged: copy the whole folder, or remove {path.parent}."
            ) from error

    def shape(self, number: int) -> tuple[int, int]:
        """Rows and attributes of a part."""
        return self.embedding.parts[number].rows, len(self.names)


def _checked(content: Any, embedding: ShardedEmbedding) -> tuple[tuple[str, ...], str]:
    if content["kmex"] != KIND or content["version"] != VERSION:
        raise ValueError(f"it is not {KIND}, version {VERSION}")
    names = content["names"]
    if not isinstance(names, list) or not 1 <= len(names) <= MOST_ATTRIBUTES:
        raise ValueError(f"expected 1 to {MOST_ATTRIBUTES:,} names")
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError("'names' are not different texts")
    if content["rows"] != embedding.rows:
        raise ValueError("it has another number of rows than the embeddings")
    return tuple(names), str(content["digest"])


def part_path(folder: Path, number: int) -> Path:
    """The file with the attributes of the rows of a part."""
    return folder / FOLDER / f"part-{number:06d}.safetensors"


def _unpacked(bits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if bits.dtype != np.uint8 or bits.shape != (shape[0], -(-shape[1] // 8)):
        raise ValueError(f"expected bits of {shape}, got {bits.dtype} of shape {bits.shape}")
    return np.unpackbits(bits, axis=1, count=shape[1]).view(bool)


def write_part(folder: Path, number: int, has: np.ndarray, known: np.ndarray) -> None:
    """Write the attributes (n, A) bool of the rows of a part, and which are known.

    Raises:
        StoreError: when that is not possible.
    """
    arrays = {"has": np.packbits(has & known, axis=1), "known": np.packbits(known, axis=1)}
    write_file(part_path(folder, number), arrays, {})


def finish(folder: Path, names: Sequence[str], rows: int, of: str) -> None:
    """Write what describes the attributes of an embedding's rows, whose parts are written.

    Raises:
        StoreError: when that is not possible.
    """
    about = {"kmex": KIND, "version": VERSION, "names": list(names), "rows": rows, "digest": of}
    write_bytes(folder / FOLDER / ABOUT, write_json(about).encode())


class AttributeWriter:
    """Writes attributes row by row, in parts of some rows.

    Args:
        folder: of the embedding.
        names: of the A attributes.
        part_rows: rows of each part but the last.
        done: rows whose parts are there.
    """

    def __init__(self, folder: Path, names: Sequence[str], part_rows: int, done: int) -> None:
        self._folder, self._names, self._part_rows, self._number = folder, names, part_rows, -(-done // part_rows)
        self._rows = done
        self._waiting = np.empty((2, 0, len(names)), bool)  # has and known

    def add(self, has: np.ndarray, known: np.ndarray) -> None:
        """Add the next rows, (n, A) bool each.

        Raises:
            StoreError: when a part cannot be written.
        """
        self._rows += len(has)
        self._waiting = np.concatenate([self._waiting, np.stack([has, known])], 1)
        while self._waiting.shape[1] >= self._part_rows:
            self._write(self._part_rows)

    def _write(self, rows: int) -> None:
        write_part(self._folder, self._number, *self._waiting[:, :rows])
        self._waiting = self._waiting[:, rows:]
        self._number += 1

    def finish(self) -> None:
        """Write what is left, and what describes them.

        Raises:
            StoreError: when that is not possible.
        """
        if self._waiting.shape[1]:
            self._write(self._waiting.shape[1])
        finish(self._folder, self._names, self._rows, "")


def written(
    embedding: ShardedEmbedding,
    names: Sequence[str],
    has: np.ndarray,
    known: np.ndarray | None,
) -> AttributeRows:
    """The attributes of a data set's split beside its embedding: those that are there if they are the same.

    Args:
        embedding: of the split.
        names: of the attributes.
        has, known: (N, A) bool, see `Split`.

    Raises:
        StoreError: when they cannot be written.
    """
    of = digest({"has": has} | ({} if known is None else {"known": known}), write_json(list(names)))
    try:
        there = AttributeRows.open(embedding)
        if there.digest == of:
            return there
    except InputError:
        pass  # none yet, or damaged: written
    for number, part in enumerate(embedding.parts):
        rows = slice(part.first, part.first + part.rows)
        write_part(embedding.folder, number, has[rows], np.ones_like(has[rows]) if known is None else known[rows])
    finish(embedding.folder, names, embedding.rows, of)
    return AttributeRows.open(embedding)
