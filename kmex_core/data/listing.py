"""Files as directories show them: one as a tuple, hundreds of thousands in a few arrays."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

_INT64 = 2**63 - 1  # the largest integer in SQLite
CHUNK = 4096
WIDEST = 256  # bytes of names that are sorted side by side in one array


class FileState(NamedTuple):
    """A file as a directory shows it.

    Attributes:
        place: its path.
        name: its path in the data set, with `/`.
        size: in bytes.
        mtime, ctime: times of change of content and of anything, in nanoseconds.
        inode: its number in the file system.
    """

    place: str
    name: str
    size: int
    mtime: int
    ctime: int
    inode: int

    @property
    def path(self) -> Path:
        """The file's path."""
        return Path(self.place)

    @property
    def stamp(self) -> tuple[int, int, int, int]:
        """Everything that changes with the content, short of reading it."""
        return self[2:]

    def unchanged(self) -> bool:
        """Whether the file at the path is still in this state."""
        try:
            return state_of(self.place, self.name).stamp == self.stamp
        except OSError:
            return False


def state_of(place: str | Path, name: str, status: os.stat_result | None = None) -> FileState:
    """A file's state; pass `status` if it is already known.

    Raises:
        OSError: when there is no such file.
    """
    place = str(place)
    status = os.stat(place) if status is None else status
    return FileState(place, name, *_stamp(status))


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INT64


def numbers(values: np.ndarray) -> Iterator[int]:
    """The values of an array as Python's integers, of which few exist at once."""
    for start in range(0, len(values), CHUNK):
        yield from values[start : start + CHUNK].tolist()


class Listing:
    """Files that are being listed below one folder.

    Args:
        root: the folder; the name of a file is its path from there, unless the two are spelled differently.
    """

    def __init__(self, root: str = "") -> None:
        self.root = os.fsencode(root)
        self.names = bytearray()
        self.ends = array("q")
        self.stamps = array("q")
        self.places: dict[int, bytes] = {}  # of files whose path does not follow from their name

    def add(self, place: str, name: str, status: os.stat_result) -> None:
        """Add a file, as `state_of` describes it."""
        self._append(place, name, _stamp(status))

    def _append(self, place: str, name: str, stamp: Iterable[int]) -> None:
        encoded, path = name.encode(errors="surrogateescape"), os.fsencode(place)
        if path != self.root + b"/" + encoded:
            self.places[len(self.ends)] = path
        self.names += encoded
        self.ends.append(len(self.names))
        self.stamps.extend(stamp)

    @classmethod
    def of(cls, files: Iterable[FileState]) -> Files:
        """Files that are already described."""
        listing = cls()
        for file in files:
            listing._append(file.place, file.name, file.stamp)
        return listing.files()

    def files(self) -> Files:
        """What was added, in that order."""
        return Files(
            self.root,
            bytes(self.names),
            np.concatenate([np.zeros(1, np.int64), np.array(self.ends, dtype=np.int64)]),
            np.frombuffer(self.stamps, dtype=np.int64).reshape(-1, 4),
            self.places,
            np.arange(len(self.ends), dtype=np.int32),
        )


class Files(Sequence[FileState]):
    """N files, in about 50 bytes and the length of its name each; a `FileState` is made when one is asked for.

    Args:
        root: the folder, as bytes.
        names: all names, one after the other, in UTF-8.
        ends: (M + 1,) where each name begins and the one before it ends.
        stamps: (M, 4) int64, see `FileState.stamp`.
        places: the paths that do not follow from the name.
        rows: (N,) int32, which of those M files these are, in order.
    """

    def __init__(
        self,
        root: bytes,
        names: bytes,
        ends: np.ndarray,
        stamps: np.ndarray,
        places: dict[int, bytes],
        rows: np.ndarray,
    ) -> None:
        self._root = root
        self._names = names
        self._ends = ends
        self._stamps = stamps
        self._places = places
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> FileState: ...
    @overload
    def __getitem__(self, index: slice) -> Files: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = int(self._rows[index])
        name = self._name(row)
        place = self._places.get(row)
        path = self._root + b"/" + name if place is None else place
        return FileState(os.fsdecode(path), name.decode(errors="surrogateescape"), *self._stamps[row].tolist())

    def __iter__(self) -> Iterator[FileState]:
        return (self[index] for index in range(len(self)))

    def _name(self, row: int) -> bytes:
        return self._names[self._ends[row] : self._ends[row + 1]]

    def names(self) -> Iterator[str]:
        """The names in order, without the rest."""
        return (self._name(row).decode(errors="surrogateescape") for row in numbers(self._rows))

    def take(self, rows: np.ndarray) -> Files:
        """Some of the files, in another order; what is known of them is shared."""
        return Files(self._root, self._names, self._ends, self._stamps, self._places, self._rows[rows])

    def by_name(self) -> np.ndarray:
        """(N,) the positions in the order of names (by code points, which is that of their bytes in UTF-8)."""
        lengths = self._ends[self._rows + 1] - self._ends[self._rows] if len(self) else np.zeros(1, np.int64)
        widest = int(lengths.max())
        if widest > WIDEST:
            return np.array(
                sorted(range(len(self)), key=lambda index: self._name(int(self._rows[index]))), dtype=np.int64
            )
        names = np.zeros(len(self), dtype=f"S{max(widest, 1)}")
        for index, row in enumerate(numbers(self._rows)):
            names[index] = self._name(row)
        return np.argsort(names, kind="stable")
