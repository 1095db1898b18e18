"""Density tiles: a map of any number of images as counts in bins, which add up.

The finest level divides the map into bins, 256 by 256 to a tile; each level above has half as many in both directions.
A bin counts its images by class, how many of them the black box gets wrong, and names one of them. Counts add up, so
parts can be counted in any order and on any machine. `density` makes them.
"""

from __future__ import annotations

import gzip
import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.files import write_bytes
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.networks.types import NO_CLASS
from kmex_core.scale.parts import Block

BINS = 256  # of a tile, in each direction
MOST_LEVEL = 8
MAP = "map.json"
KIND, VERSION = "density tiles", 1
MOST_CLASSES = 2**16
MOST_MAP, MOST_TILE = 4 * 2**20, 8 * 2**20  # bytes of a file
PIECE = 2**20  # bytes of a tile that are checked at once
# what a bin counts of a class: `code` is the bin's place on the curve, times the number of classes, plus the class
ENTRY = np.dtype([("code", "<u8"), ("count", "<u4"), ("wrong", "<u4"), ("example", "<u4")])
COLUMNS = (("place", "<u2"), ("label", "<u2"), ("count", "<u4"), ("wrong", "<u4"), ("example", "<u4"))  # of a tile
_BLOCK = 16  # bins of the coarsest level that are taken together where a name is written
_SPREADS = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


@dataclass(frozen=True)
class Square:
    """The part of the plane that the tiles divide: its corner with the smallest coordinates, and its side."""

    x: float
    y: float
    side: float

    def bins(self, places: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        """The bins of places (n, 2) at a level: column and row (n,) uint64, from the corner on."""
        across = BINS << level
        column, row = (
            np.clip((places[:, axis].astype(np.float64) - start) / self.side * across, 0, across - 1).astype(np.uint64)
            for axis, start in enumerate((self.x, self.y))
        )
        return column, row


@dataclass(frozen=True)
class TileMap:
    """What there is of a density map.

    Attributes:
        rows: how many images were counted.
        finest: the finest level; the coarsest is 0, one tile.
        square: what the tiles divide.
        counts, wrong: of each class: its images, and those that the black box gets wrong.
        has_black_box: whether there are predictions.
        names: label and place of each class's name: where most of its images are.
        most: the most images in a bin, for each level.
        present: for each level the tiles that have images, each as row · 2^level + column, ascending.
        sample: how many images the map was fitted on.
        trustworthiness: 0…1, of the fitted images, see `Projection`.
    """

    rows: int
    finest: int
    square: Square
    counts: tuple[int, ...]
    wrong: tuple[int, ...]
    has_black_box: bool
    names: tuple[tuple[int, float, float], ...]
    most: tuple[int, ...]
    present: tuple[tuple[int, ...], ...]
    sample: int
    trustworthiness: float

    def has(self, level: int, column: int, row: int) -> bool:
        """Whether there is such a tile."""
        across = 2**level
        if not (0 <= level <= self.finest and 0 <= column < across and 0 <= row < across):
            return False
        return row * across + column in self.present[level]

    def write(self, folder: Path) -> None:
        """Write it into the folder of the tiles, which are complete with it.

        Raises:
            StoreError: when it cannot be written.
        """
        content = {"kmex": KIND, "version": VERSION, **asdict(self)}
        write_bytes(folder / MAP, write_json(content, compact=True).encode())


def read_map(folder: Path, classes: int) -> TileMap | None:
    """What a folder of tiles has; None where they are not there, or not complete.

    Raises:
        InputError: when the file is not what `TileMap.write` wrote of so many classes.
    """
    path = folder / MAP
    if path.is_symlink() or not path.is_file():
        return None
    try:
        if path.stat().st_size > MOST_MAP:
            raise ValueError(f"it is larger than {MOST_MAP // 2**20} MB")
        return _checked(read_json(path.read_bytes()), classes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is damaged or was not written by this program: {why}.") from error


def _checked(content: Any, classes: int) -> TileMap:
    if content["kmex"] != KIND or content["version"] != VERSION:
        raise ValueError(f"it is not {KIND} of version {VERSION}")
    finest = _whole(content["finest"], 0, MOST_LEVEL)
    of_classes = [tuple(_whole(each, 0, 2**53) for each in content[name]) for name in ("counts", "wrong")]
    most = tuple(_whole(each, 0, 2**53) for each in content["most"])
    present = tuple(
        tuple(_whole(each, 0, 4**level - 1) for each in tiles) for level, tiles in enumerate(content["present"])
    )
    names = tuple((_whole(label, 0, classes - 1), _real(x), _real(y)) for label, x, y in content["names"])
    if any(len(each) != classes for each in of_classes) or len(names) > classes:
        raise ValueError("it has another number of classes")
    if len(most) != finest + 1 or len(present) != finest + 1:
        raise ValueError("it has another number of levels")
    square = Square(*(_real(content["square"][name]) for name in ("x", "y", "side")))
    if square.side <= 0:
        raise ValueError("its map has no size")
    return TileMap(
        rows=_whole(content["rows"], 1, 2**53),
        finest=finest,
        square=square,
        counts=of_classes[0],
        wrong=of_classes[1],
        has_black_box=content["has_black_box"] is True,
        names=names,
        most=most,
        present=present,
        sample=_whole(content["sample"], 1, 2**53),
        trustworthiness=_real(content["trustworthiness"]),
    )


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, got {str(value)[:80]!r}")
    return value


def _real(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < 1e30:
        raise ValueError(f"expected a number, got {str(value)[:80]!r}")
    return float(value)


# ---- counting -------------------------------------------------------------------------------------------------------


def curve(column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(n,) uint64, places on a Z-order curve (Morton 1966): the bins of a tile, of any level, follow each other."""
    return _spread(column) | (_spread(row) << np.uint64(1))


def on_curve(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `curve`: columns and rows."""
    return _gathered(places), _gathered(places >> np.uint64(1))


def _spread(values: np.ndarray) -> np.ndarray:
    """A 0 after each binary digit of numbers below 2³²."""
    values = values.astype(np.uint64)
    for shift, mask in _SPREADS:
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values


def _gathered(values: np.ndarray) -> np.ndarray:
    """Every second binary digit."""
    values = values & np.uint64(_SPREADS[-1][1])
    for (shift, _), (_, mask) in itertools.pairwise(reversed(_SPREADS)):
        values = (values | (values >> np.uint64(shift))) & np.uint64(mask)
    return (values | (values >> np.uint64(16))) & np.uint64(2**32 - 1)


def counted(block: Block, places: np.ndarray, square: Square, level: int, classes: int) -> np.ndarray:
    """What images add to the bins of a level: `ENTRY`s by code.

    Args:
        block: the images.
        places: (n, 2) where they are on the map.
        square: what the tiles divide.
        level: usually the finest.
        classes: how many there are.
    """
    entries = np.empty(len(block), ENTRY)
    entries["code"] = curve(*square.bins(places, level)) * np.uint64(classes) + block.labels.astype(np.uint64)
    entries["count"] = 1
    entries["wrong"] = (block.black_box != NO_CLASS) & (block.black_box != block.labels)
    entries["example"] = block.index
    return merged([entries])


def merged(several: Sequence[np.ndarray]) -> np.ndarray:
    """Entries of equal code added up, by code; the same in any order and grouping."""
    together = np.concatenate([np.empty(0, ENTRY), *several])
    if not len(together):
        return together
    together = together[np.argsort(together["code"], kind="stable")]
    starts = _starts(together["code"])
    added = np.empty(len(starts), ENTRY)
    added["code"] = together["code"][starts]
    for name in ("count", "wrong"):
        added[name] = np.add.reduceat(together[name], starts)
    added["example"] = np.minimum.reduceat(together["example"], starts)
    return added


def coarser(entries: np.ndarray, classes: int) -> np.ndarray:
    """The same images in the bins of the next coarser level, of which each takes in four."""
    above = entries.copy()
    place, label = np.divmod(entries["code"], np.uint64(classes))
    above["code"] = (place >> np.uint64(2)) * np.uint64(classes) + label
    return merged([above])


def by_tile(entries: np.ndarray, classes: int) -> Iterator[np.ndarray]:
    """The entries of each tile, of entries by code."""
    starts = _starts(entries["code"] // np.uint64(BINS * BINS * classes))
    for start, end in itertools.pairwise([*starts.tolist(), len(entries)]):
        yield entries[start:end]


def fullest(entries: np.ndarray, classes: int) -> int:
    """The most images in a bin, of entries by code."""
    if not len(entries):
        return 0
    starts = _starts(entries["code"] // np.uint64(classes))
    return int(np.add.reduceat(entries["count"], starts).max())


def _starts(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]]))


def name_places(coarsest: np.ndarray, classes: int, square: Square) -> list[tuple[int, float, float]]:
    """Where the name of each class is written: the middle of its images where they are densest.

    Args:
        coarsest: the entries of level 0.
        classes, square: of the map.

    Returns:
        Label and place of each class that has images.
    """
    place, label = np.divmod(coarsest["code"], np.uint64(classes))
    column, row = (each.astype(np.int64) for each in on_curve(place))
    blocks = (row // _BLOCK) * (BINS // _BLOCK) + column // _BLOCK
    names = []
    for each in np.unique(label).tolist():
        own = label == each
        weight = coarsest["count"][own].astype(float)
        densest = np.bincount(blocks[own], weight).argmax()
        weight *= blocks[own] == densest
        middle = [float((weight * (axis[own] + 0.5)).sum() / weight.sum()) / BINS for axis in (column, row)]
        names.append((int(each), square.x + square.side * middle[0], square.y + square.side * middle[1]))
    return names


# ---- the files ------------------------------------------------------------------------------------------------------


def tile_path(folder: Path, level: int, column: int, row: int) -> Path:
    """Where a tile is, in the folder of the map."""
    return folder / str(level) / f"{column}-{row}.gz"


def write_tile(folder: Path, level: int, entries: np.ndarray, classes: int) -> tuple[int, int]:
    """Write a tile: the number n of its entries as uint32, then `COLUMNS` of n numbers each, little end first, all
    compressed by gzip. An entry's place is 256 times its row in the tile, plus its column.

    Args:
        folder, level: of the tile.
        entries: all that the tile has, at least one.
        classes: of the map.

    Returns:
        Its column and row.

    Raises:
        StoreError: when it cannot be written.
    """
    where, label = np.divmod(entries["code"], np.uint64(classes))
    column, row = (each.astype(np.int64) for each in on_curve(where))
    columns = [row % BINS * BINS + column % BINS, label, *(entries[name] for name, _ in COLUMNS[2:])]
    content = b"".join(each.astype(kind).tobytes() for each, (_, kind) in zip(columns, COLUMNS, strict=True))
    tile = int(column[0]) // BINS, int(row[0]) // BINS
    compressed = gzip.compress(struct.pack("<I", len(entries)) + content, 6, mtime=0)
    write_bytes(tile_path(folder, level, *tile), compressed, durable=False)
    return tile


def check_tile(path: Path, rows: int) -> None:
    """Read a tile to its end; memory is bounded.

    Args:
        path: of the tile.
        rows: images of the map.

    Raises:
        InputError: when it is missing, damaged or larger than its map.
    """
    entry, size = sum(np.dtype(kind).itemsize for _, kind in COLUMNS), 0
    try:
        if path.is_symlink() or not path.is_file():
            raise ValueError("it is missing")
        with gzip.open(path) as file:
            (n,) = struct.unpack("<I", file.read(4))
            while size <= n * entry <= rows * entry and (piece := file.read(PIECE)):
                size += len(piece)
        if n > rows or size != n * entry:
            raise ValueError("it has another number of entries than it says")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise InputError(
            f"{path} is damaged or missing ({error}): remove {path.parent.parent}, and `project` draws the map again."
        ) from error


def read_tile(content: bytes) -> dict[str, np.ndarray]:
    """The columns of a tile by name, see `write_tile`."""
    plain = gzip.decompress(content)
    (n,) = struct.unpack_from("<I", plain)
    columns, start = {}, 4
    for name, kind in COLUMNS:
        columns[name] = np.frombuffer(plain, kind, n, start)
        start += columns[name].nbytes
    return columns
