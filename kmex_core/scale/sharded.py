"""Sharded embeddings: any number of rows in parts on disk, of which only what is needed is read.

A folder has `manifest.json`, written last, and the parts (see `parts`); results computed from it are in `results/`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.files import write_bytes
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.location import SHARDED
from kmex_core.base.provenance import versions
from kmex_core.base.specs import stable_key
from kmex_core.base.store import Store, demand_writable
from kmex_core.networks.types import NO_CLASS
from kmex_core.scale.parts import (
    MOST_BYTES,
    MOST_DIMENSIONS,
    PART_ROWS,
    Block,
    Part,
    part_name,
    read_block,
    read_class,
    read_labels,
    whole_part,
    write_part,
)

__all__ = ["Block", "Part", "ShardWriter", "ShardedEmbedding", "Sharding", "sharded"]

log = logging.getLogger(__name__)

ROOM = SHARDED
MANIFEST, RESULTS = "manifest.json", "results"
KIND, VERSION = "sharded embedding", 1
MOST_MANIFEST = 256 * 2**20  # bytes: 100 million rows of 10,000 classes need 60 MB
PART_FILE = re.compile(r"part-\d{6,9}\.parquet")


@dataclass(frozen=True)
class Sharding:
    """What the parts of a sharded embedding have in common, known before the first of them is written.

    Attributes:
        name: of the whole, for people.
        dimensions: D.
        class_names: C names.
        images: how the rows' pictures are found: {"kind": "dataset", "dataset": …, "split": …}, {"kind": "generated",
            "seed": …, "side": …}, or None where they are not.
        model: the name of the model whose embedding it is, or None.
        spec: what the embedding depends on, as `Spec.described` has it, or None.
        part_rows: rows of each part but the last.
    """

    name: str
    dimensions: int
    class_names: tuple[str, ...]
    images: Mapping[str, Any] | None = None
    model: str | None = None
    spec: Mapping[str, Any] | None = None
    part_rows: int = PART_ROWS

    @property
    def identity(self) -> str:
        """Tells parts of this embedding from those of another in the same folder."""
        return stable_key([KIND, VERSION, self.name, self.dimensions, self.class_names, self.spec, self.part_rows])

    def write(self, folder: Path, number: int, block: Block) -> Part:
        """Write a part, see `parts.write_part`."""
        return write_part(folder, number, block, len(self.class_names), self.identity)

    def whole(self, folder: Path, number: int, first: int) -> Part | None:
        """A part that was written earlier and is whole, see `parts.whole_part`."""
        return whole_part(folder, number, first, self.dimensions, len(self.class_names), self.identity)

    def finish(self, folder: Path, parts: Sequence[Part]) -> ShardedEmbedding:
        """Write the manifest, with which the embedding is complete.

        Raises:
            InputError: when there is no part.
            StoreError: when it cannot be written.
        """
        if not parts:
            raise InputError("There are no embeddings to write.")
        manifest = {
            "kmex": KIND,
            "version": VERSION,
            "name": self.name,
            "rows": sum(part.rows for part in parts),
            "dimensions": self.dimensions,
            "class_names": self.class_names,
            "parts": [asdict(part) for part in parts],
            "images": self.images,
            "model": self.model,
            "spec": self.spec,
            "versions": versions(),
        }
        write_bytes(folder / MANIFEST, write_json(manifest, compact=True).encode())
        return ShardedEmbedding.open(folder)


@dataclass(frozen=True, eq=False)
class ShardedEmbedding:
    """An embedding of N rows and D dimensions in parts on disk.

    Attributes:
        folder: where it is.
        name: for people.
        rows: N.
        dimensions: D.
        class_names: C names.
        parts: in the order of their rows.
        images, model, spec: see `Sharding`.
    """

    folder: Path
    name: str
    rows: int
    dimensions: int
    class_names: tuple[str, ...]
    parts: tuple[Part, ...] = field(repr=False)
    images: Mapping[str, Any] | None = None
    model: str | None = None
    spec: Mapping[str, Any] | None = None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The embedding of a folder; only its manifest is read.

        Raises:
            InputError: when there is no manifest, or it is not one.
        """
        path = folder / MANIFEST
        if not path.is_file():
            rest = (
                "it has parts, but is not finished: run the same command again, which goes on where it stopped"
                if (folder / part_name(0)).is_file()
                else "kmex extract writes such a folder"
            )
            raise InputError(f"{folder} is not a sharded embedding (it has no {MANIFEST}): {rest}.")
        try:
            if path.stat().st_size > MOST_MANIFEST:
                raise ValueError(f"it is larger than {MOST_MANIFEST // 2**20} MB")
            return cls(folder, **_checked(read_json(path.read_bytes())))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{path} is damaged or was not written by this program: {why}.") from error

    @cached_property
    def counts(self) -> np.ndarray:
        """(C,) int64, rows of each class."""
        return self.part_counts.sum(0)

    @cached_property
    def part_counts(self) -> np.ndarray:
        """(P, C) int64, rows of each class in each part."""
        return np.array([part.counts for part in self.parts], dtype=np.int64)

    @cached_property
    def key(self) -> str:
        """Names the content: what is computed from the same rows has the same name."""
        return stable_key([self.dimensions, self.class_names, [part.digest for part in self.parts]])

    @property
    def results(self) -> Path:
        """The folder of what is computed from it."""
        return self.folder / RESULTS

    def block(self, number: int) -> Block:
        """The rows of one part.

        Raises:
            InputError: when its file is missing or damaged.
        """
        return read_block(self.folder, self.parts[number], self.dimensions)

    def labels(self, number: int) -> np.ndarray:
        """(n,) int64, the classes of the rows of one part; nothing else is read.

        Raises:
            InputError: see `block`.
        """
        return read_labels(self.folder, self.parts[number], self.dimensions)

    def blocks(self) -> Iterator[Block]:
        """All rows, part by part."""
        return (self.block(number) for number in range(len(self.parts)))

    def of_class(self, label: int, parts: Iterable[int] | None = None) -> Iterator[Block]:
        """The rows of one class, part by part; nothing else is read.

        Args:
            label: the class.
            parts: numbers of the parts; all when None.
        """
        for number in range(len(self.parts)) if parts is None else parts:
            if self.parts[number].counts[label]:
                yield read_class(self.folder, self.parts[number], self.dimensions, label)

    def part_of(self, index: int) -> int:
        """The number of the part that has a row.

        Raises:
            IndexError: when there is no such row.
        """
        if not 0 <= index < self.rows:
            raise IndexError(index)
        firsts = [part.first for part in self.parts]
        return int(np.searchsorted(firsts, index, side="right")) - 1

    def sample(self, size: int, seed: int) -> Block:
        """Random rows, of each class in proportion and at least one; memory is bounded by them and a part.

        Args:
            size: how many; all if there are no more.
            seed: equal seeds give equal rows.
        """
        if size >= self.rows:
            return Block.joined(list(self.blocks()), self.dimensions)
        wanted, blocks = shares(self.counts, size), []
        for label in np.flatnonzero(wanted).tolist():
            random = np.random.default_rng([seed, label])
            chosen = np.sort(random.choice(self.counts[label], wanted[label], replace=False, shuffle=False))
            blocks.append(self.rows_of_class(label, chosen))
        block = Block.joined(blocks, self.dimensions)
        return block.taken(np.argsort(block.index, kind="stable"))

    def rows_of_class(self, label: int, places: np.ndarray) -> Block:
        """Some rows of one class; of each part that has any, its rows of the class are in memory.

        Args:
            label: the class.
            places: (n,) which of the class's rows, ascending, from 0.
        """
        # where the class's rows of each part end, among all of the class
        ends, blocks = np.cumsum(self.part_counts[:, label]), []
        of_part = np.searchsorted(ends, places, side="right")
        for number in np.unique(of_part).tolist():
            rows = places[of_part == number] - (ends[number] - self.part_counts[number, label])
            blocks += [block.taken(rows) for block in self.of_class(label, [number])]
        return Block.joined(blocks, self.dimensions)


def shares(counts: np.ndarray, size: int) -> np.ndarray:
    """How many of each class a sample of `size` has: in proportion, at least one of each class that has any.

    Args:
        counts: (C,) rows of each class.
        size: of the sample; more only where there are more classes.

    Returns:
        (C,) int64, at most `counts`.
    """
    total = int(counts.sum())
    if size >= total:
        return counts.astype(np.int64)
    exact = counts * (size / total)
    wanted = np.minimum(counts, np.maximum(np.floor(exact).astype(np.int64), (counts > 0).astype(np.int64)))
    # the rest goes to those that rounding took most from; too many (rare classes have one each) come from the largest
    order = np.argsort(-(exact - wanted), kind="stable")
    more = size - int(wanted.sum())
    if more > 0:
        wanted[[label for label in order if wanted[label] < counts[label]][:more]] += 1
    for _ in range(-more):
        largest = int(wanted.argmax())
        wanted[largest] -= wanted[largest] > 1
    return wanted


def _checked(manifest: Any) -> dict[str, Any]:
    """The fields of a manifest.

    Raises:
        ValueError, KeyError, TypeError: when it is not one.
    """
    if manifest["kmex"] != KIND:
        raise ValueError(f"it is not a {KIND}")
    if manifest["version"] != VERSION:
        raise ValueError(f"it has version {manifest['version']!r}, and this program knows {VERSION}")
    names, dimensions = manifest["class_names"], _number(manifest["dimensions"], 1, MOST_DIMENSIONS)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("'class_names' are not texts")
    parts, first = [], 0
    for entry in manifest["parts"]:
        part = _part(entry, first, len(names), dimensions)
        parts.append(part)
        first += part.rows
    if len({part.file for part in parts}) < len(parts) or not parts or first != manifest["rows"]:
        raise ValueError("its parts are not as many, or not of as many rows, as it says")
    for name in ("images", "spec"):
        if not isinstance(manifest.get(name), dict | None):
            raise ValueError(f"'{name}' is not an object")
    model = manifest.get("model")
    return {
        "name": str(manifest["name"]),
        "rows": first,
        "dimensions": dimensions,
        "class_names": tuple(names),
        "parts": tuple(parts),
        "images": manifest.get("images"),
        "model": None if model is None else str(model),
        "spec": manifest.get("spec"),
    }


def _part(entry: Any, first: int, classes: int, dimensions: int) -> Part:
    file, counts = entry["file"], entry["counts"]
    if not isinstance(file, str) or not PART_FILE.fullmatch(file):
        raise ValueError(f"{str(file)[:80]!r} is not the name of a part")
    rows = _number(entry["rows"], 1, MOST_BYTES // (4 * dimensions))
    numbers = tuple(_number(count, 0, rows) for count in counts)
    if len(numbers) != classes or sum(numbers) != rows or entry["first"] != first:
        raise ValueError(f"the rows of {file} do not add up")
    return Part(file, first, rows, numbers, str(entry["digest"]))


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, got {str(value)[:80]!r}")
    return value


def manifests(store: Store) -> list[Path]:
    """The manifests of the finished sharded embeddings of a store, by name; none is read."""
    return sorted((store.root / ROOM).glob(f"*/{MANIFEST}"))


def sharded(store: Store) -> list[ShardedEmbedding]:
    """The finished sharded embeddings of a store, by name; a damaged one is left out, and logged."""
    found = []
    for path in manifests(store):
        try:
            found.append(ShardedEmbedding.open(path.parent))
        except InputError as error:
            log.warning("%s", error)
    return found


class ShardWriter:
    """Writes a sharded embedding row by row, and goes on after the last whole part of an interrupted one.

    Memory is bounded by one part.

    Args:
        folder: receives it.
        dimensions, class_names, images, name, model, spec, part_rows: see `Sharding`; by default `name` is the
            folder's.

    Raises:
        InputError: when this process only reads, or for impossible sizes.
    """

    def __init__(
        self,
        folder: Path,
        dimensions: int,
        class_names: Sequence[str],
        images: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        model: str | None = None,
        spec: Mapping[str, Any] | None = None,
        part_rows: int = PART_ROWS,
    ) -> None:
        demand_writable("A sharded embedding cannot be written")
        if not 1 <= dimensions <= MOST_DIMENSIONS or not 1 <= part_rows * dimensions * 4 <= MOST_BYTES:
            raise InputError(
                f"{part_rows:,} rows of {dimensions:,} dimensions cannot be one part: expected at most "
                f"{MOST_DIMENSIONS:,} dimensions and {MOST_BYTES // 2**30} GB."
            )
        self._folder = folder
        self._sharding = Sharding(name or folder.name, dimensions, tuple(class_names), images, model, spec, part_rows)
        self._parts: list[Part] = []
        self.rows = 0
        while (part := self._sharding.whole(folder, len(self._parts), self.rows)) is not None:
            self._parts.append(part)
            self.rows += part.rows
        self._z = np.empty((part_rows, dimensions), np.float32)
        self._labels, self._black_box = (np.empty(part_rows, np.int64) for _ in range(2))
        self._waiting = 0

    def add(self, z: np.ndarray, labels: np.ndarray, black_box: np.ndarray | None = None) -> None:
        """Add the next rows; those before `rows` (when this was made) are there already.

        Args:
            z: (n, D) embeddings, finite.
            labels: (n,) classes.
            black_box: (n,) predicted classes; none when None.

        Raises:
            InputError: for other shapes; see `parts.write_part`.
        """
        predicted = np.full(len(labels), NO_CLASS) if black_box is None else black_box
        if z.shape != (len(labels), self._sharding.dimensions) or len(predicted) != len(labels):
            raise InputError(
                f"Expected {len(labels):,} embeddings of {self._sharding.dimensions} dimensions, got {z.shape}."
            )
        done = 0
        while done < len(labels):
            here = min(len(labels) - done, self._sharding.part_rows - self._waiting)
            given, place = slice(done, done + here), slice(self._waiting, self._waiting + here)
            self._z[place], self._labels[place], self._black_box[place] = z[given], labels[given], predicted[given]
            self._waiting += here
            done += here
            if self._waiting == self._sharding.part_rows:
                self._write()

    def _write(self) -> None:
        rows = slice(0, self._waiting)
        index = np.arange(self.rows, self.rows + self._waiting)
        block = Block(index, self._z[rows], self._labels[rows], self._black_box[rows])
        self._parts.append(self._sharding.write(self._folder, len(self._parts), block))
        self.rows += self._waiting
        self._waiting = 0

    def finish(self) -> ShardedEmbedding:
        """Write what is left and the manifest.

        Raises:
            InputError: when there are no rows.
            StoreError: when it cannot be written.
        """
        if self._waiting:
            self._write()
        return self._sharding.finish(self._folder, self._parts)
