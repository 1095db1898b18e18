"""Safetensors files, written and read piece by piece: memory is bounded by a piece, however large an array is.

The format: eight bytes with the length of the header (little-endian), the header as JSON (type, shape and place of
every array, and texts), and the arrays' bytes without a gap (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from kmex_core.base.jsontext import read_json, write_json

Arrays = dict[str, np.ndarray]

PIECE = 2**20
LONGEST = 100_000_000  # bytes of a header, as in the safetensors library
MAPPED = 64 * 2**20  # bytes from which an array is mapped into memory instead of read
METADATA = "__metadata__"
TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "I32": "<i4", "U32": "<u4",
    "F32": "<f4", "C64": "<c8", "F64": "<f8", "I64": "<i8", "U64": "<u8",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in TYPES.items()}


@dataclass(frozen=True)
class Place:
    """Where an array is in a file.

    Attributes:
        dtype: little-endian.
        shape: of the array.
        start: its first byte, counted from the first array's.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self.dtype.itemsize * math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Rows:
    """Arrays of the same length, whose rows come in parts: only one part is in memory at a time.

    Attributes:
        shapes: by name, type and shape of the whole arrays.
        parts: yields consecutive rows of all of them, by name; called once.
    """

    shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
    parts: Callable[[], Iterator[Mapping[str, np.ndarray]]]

    def whole(self) -> Arrays:
        """The arrays in memory."""
        parts = list(self.parts())
        return {name: np.concatenate([part[name] for part in parts]) for name in self.shapes}


class Digest:
    """The fingerprint of named arrays (names, types, shapes, bytes) and a text; arrays are added by ascending name."""

    def __init__(self, text: str) -> None:
        self._seen = hashlib.blake2b(text.encode(), digest_size=16)

    def add(self, name: str, place: Place, pieces: Iterator[Any]) -> None:
        """Add an array, whose bytes come in pieces."""
        self._seen.update(f"|{name}:{place.dtype.str}:{place.shape}|".encode())
        for piece in pieces:
            self._seen.update(piece)

    def result(self) -> str:
        """32 hexadecimal digits."""
        return self._seen.hexdigest()


def as_rows(arrays: Mapping[str, np.ndarray]) -> Rows:
    """Arrays in memory as one part, little-endian and without gaps."""
    whole = {}
    for name, array in arrays.items():
        whole[name] = np.asarray(array, dtype=np.asarray(array).dtype.newbyteorder("<"), order="C")
    return Rows({name: (array.dtype, array.shape) for name, array in whole.items()}, lambda: iter([whole]))


def write_rows(file: BinaryIO, rows: Rows, texts: Mapping[str, str], text: str) -> None:
    """Write a safetensors file, with the arrays' digest in its header.

    Args:
        file: empty, open for writing and reading.
        rows: the arrays. Parts go to their places in the file as they come.
        texts: what the header says besides.
        text: part of the digest.

    Raises:
        ValueError: when the parts do not make up the arrays, or an array has a type that the format lacks.
        OSError: when the file cannot be written.
    """
    places, start = dict[str, Place](), 0
    # larger numbers first, so that every array begins at a multiple of its numbers' size
    for name, (dtype, shape) in sorted(rows.shapes.items(), key=lambda item: (-item[1][0].itemsize, item[0])):
        places[name] = Place(dtype, shape, start)
        start += places[name].size
    blank = _header(places, {**texts, "digest": "0" * 32})
    file.write(blank)
    done = dict.fromkeys(places, 0)
    for part in rows.parts():
        for name, array in part.items():
            place = places[name]
            if array.dtype != place.dtype or array.shape[1:] != place.shape[1:]:
                raise ValueError(f"'{name}' has rows of {array.dtype}{array.shape[1:]}, expected {place}.")
            file.seek(len(blank) + place.start + done[name])
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            done[name] += array.nbytes
    if done != {name: place.size for name, place in places.items()}:
        raise ValueError(f"The parts have {done} bytes of the arrays {places}.")
    file.flush()
    digest = Digest(text)
    for name in sorted(places):
        digest.add(name, places[name], pieces(file, places[name], len(blank)))
    file.seek(0)
    file.write(_header(places, {**texts, "digest": digest.result()}))


def _header(places: Mapping[str, Place], texts: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {METADATA: dict(texts)}
    for name, place in places.items():
        if place.dtype not in _NAMES:
            raise ValueError(f"Arrays of {place.dtype} cannot be stored ('{name}').")
        offsets = [place.start, place.start + place.size]
        entries[name] = {"dtype": _NAMES[place.dtype], "shape": list(place.shape), "data_offsets": offsets}
    content = write_json(entries, compact=True).encode()
    content += b" " * (-len(content) % 8)
    return len(content).to_bytes(8, "little") + content


def read_layout(file: BinaryIO) -> tuple[dict[str, str], dict[str, Place], int]:
    """The texts in a file's header, the places of its arrays, and the first byte of the arrays.

    Raises:
        ValueError: when it is no safetensors file, or is shorter or longer than its header says.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(LONGEST, size - 8):
        raise ValueError(f"its header would have {length:,} bytes")
    try:
        entries = read_json(file.read(length))
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    texts = entries.pop(METADATA, None) or {}
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        raise ValueError("its header has other values than texts")
    places, end = {}, 0
    for name, place, stop in sorted(
        ((name, *_place(name, entry)) for name, entry in entries.items()), key=lambda item: (item[1].start, item[2])
    ):
        if place.start != end or stop - place.start != place.size:
            raise ValueError(f"the place of '{name}' does not match its shape")
        places[name], end = place, stop
    if 8 + length + end != size:
        raise ValueError(f"it has {size:,} bytes, expected {8 + length + end:,}")
    return texts, places, 8 + length


def _place(name: str, entry: Any) -> tuple[Place, int]:
    """An array's place and its end, as the header says."""
    try:
        dtype, shape, (start, stop) = np.dtype(TYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        valid = all(type(number) is int and number >= 0 for number in (*shape, start, stop))
    except (KeyError, TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(f"its header does not say what '{name}' is")
    return Place(dtype, tuple(shape), start), stop


def read_array(file: BinaryIO, place: Place, origin: int, mapped: bool) -> np.ndarray:
    """An array of a file whose layout was checked.

    Args:
        file, place, origin: see `read_layout`.
        mapped: map a large array into memory, read-only: its pages are read when they are used, and again after
            `let_go`. The file must never be changed in place, only replaced.
    """
    # Windows can neither replace nor remove a file that is mapped
    start = origin + place.start
    if mapped and os.name == "posix" and place.size >= MAPPED and start % place.dtype.itemsize == 0:
        return _mapped(np.memmap(file, place.dtype, "c", start, place.shape))
    array = np.empty(place.shape, place.dtype)
    file.seek(start)
    if place.size and file.readinto(array.reshape(-1).view(np.uint8).data) != place.size:  # type: ignore[attr-defined]
        raise OSError("the file became shorter while it was read")
    return array


# PyTorch's warning about tensors of read-only arrays: nothing writes to stored results
warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_lock = threading.Lock()


def _mapped(array: np.memmap[Any, Any]) -> np.ndarray:
    if isinstance(array.base, mmap.mmap):
        with _lock:
            _maps.add(array.base)
    plain = np.asarray(array)
    plain.flags.writeable = False  # what is written would be lost when the pages are given back
    return plain


def let_go() -> None:
    """Give back the memory of all mapped arrays (on Linux): what is used again comes from the file."""
    with _lock:
        maps = list(_maps)
    for each in maps if sys.platform == "linux" else []:
        each.madvise(mmap.MADV_DONTNEED)


def pieces(file: BinaryIO, place: Place, origin: int) -> Iterator[memoryview]:
    """The bytes of an array in a file, a piece at a time; each piece takes the place of the one before."""
    buffer, left = memoryview(bytearray(min(PIECE, place.size))), place.size
    file.seek(origin + place.start)
    while left:
        count = file.readinto(buffer[: min(PIECE, left)])  # type: ignore[attr-defined]
        if not count:
            raise OSError("the file became shorter while it was read")
        yield buffer[:count]
        left -= count
