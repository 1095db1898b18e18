"""The density map of a sharded embedding: UMAP on a sample, every image placed among it and counted in tiles."""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from kmex_core.analysis.types import Projection
from kmex_core.base.artifact import StoredResult
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import digest, read_file, write_bytes, write_file
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import ProjectionSpec, Spec
from kmex_core.base.store import demand_writable
from kmex_core.networks.types import NO_CLASS, Embeddings
from kmex_core.prototypes.metric import EUCLIDEAN
from kmex_core.scale import tiles
from kmex_core.scale.engine import Engine
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import BINS, MOST_CLASSES, Square, TileMap

FIRST, LAST = 2, 6  # the finest level of few and of very many images
SPLIT = 3  # the level whose tiles are made one after the other, each with all finer ones in it
MARGIN = 0.02  # around the map
SAMPLE = 4096
FIT = "fit.safetensors"


@dataclass(frozen=True)
class TilesSpec(Spec):
    """What density tiles depend on: an embedding (by key), the finest level, how many images UMAP is fitted on, seed,
    and how."""

    kind: ClassVar[str] = "TilesSpec"
    embedding: str
    finest: int
    sample: int = SAMPLE
    seed: int = 0
    method: str = ProjectionSpec("").method


@dataclass(frozen=True, eq=False)
class PrototypePlaces(StoredResult):
    """Where the prototypes of a sweep are on a density map, in its order.

    Attributes:
        places: (ΣK, 2) float32.
        far: (ΣK,) bool, farther from every fitted image than is usual: the place says little.
    """

    places: np.ndarray
    far: np.ndarray


class DensityMap:
    """The density tiles of a sharded embedding, made in steps that may be repeated, interrupted and shared out.

    Args:
        embedding: the images.
        sample: how many of them UMAP is fitted on.
        seed: of the sample and of UMAP.

    Raises:
        InputError: for more images or classes than tiles can count.
    """

    def __init__(self, embedding: ShardedEmbedding, sample: int = SAMPLE, seed: int = 0) -> None:
        self.embedding, self.classes = embedding, len(embedding.class_names)
        if embedding.rows >= 2**32 or self.classes > MOST_CLASSES:
            raise InputError(f"Density tiles can count at most {2**32 - 1:,} images of {MOST_CLASSES:,} classes.")
        # at the finest level, images spread evenly would be a few bins apart
        self.finest = min(LAST, max(FIRST, round(math.log(embedding.rows, 4)) - 7))
        self.spec = TilesSpec(embedding.key, self.finest, sample, seed)
        self.folder = embedding.results / f"tiles-{self.spec.key}"

    def peek(self) -> TileMap | None:
        """What there is, if all tiles are there.

        Raises:
            InputError: when its description is damaged.
        """
        return tiles.read_map(self.folder, self.classes)

    def make(self, engine: Engine, progress: Progress = silent) -> TileMap:
        """All tiles: what is missing is made; what was interrupted continues.

        Memory of a task: a part of the embedding, or 20 bytes for each image of the fullest 64th of the map.

        Args:
            engine: connected; its workers place the images of a part each, then write a tile of the level `SPLIT` each,
                on files that all machines see.
            progress: called between steps; it may raise to stop.

        Raises:
            InputError: when the store is read-only, or a part is damaged.
            StoreError: when it cannot be written.
        """
        with contextlib.suppress(InputError):  # damaged: made again
            if (found := self.peek()) is not None:
                return found
        demand_writable("Density tiles cannot be written")
        self.fit(progress)
        parts = self.embedding.parts
        progress(Event("Placing images on the map", 0, self.embedding.rows))
        for part, _ in zip(parts, engine.map(_count, self._shared, range(len(parts))), strict=True):
            progress(Event("Placing images on the map", part.first + part.rows, self.embedding.rows))
        return self.write(engine, progress)

    # ---- the places -------------------------------------------------------------------------------------------------

    def fit(self, progress: Progress = silent) -> Projection:
        """UMAP on the sample: from its file if it was done before."""
        path = self.folder / FIT
        with contextlib.suppress(FileNotFoundError, StoreError, TypeError):  # missing, damaged, of another version
            arrays, description = read_file(path)
            return Projection.from_arrays(arrays, **description)
        from kmex_core.analysis import projection

        chosen = self.embedding.sample(self.spec.sample, self.spec.seed).embeddings
        none = Embeddings(chosen.z[:0], chosen.labels[:0], chosen.black_box[:0])
        spec = ProjectionSpec(self.embedding.key, len(chosen), self.spec.seed)
        fitted = projection.fit(chosen, none, spec, progress)
        write_file(path, fitted.to_arrays(), fitted.to_description())
        return fitted

    @functools.cached_property
    def fitted(self) -> Projection:
        """What `fit` gives."""
        return self.fit()

    @functools.cached_property
    def square(self) -> Square:
        """What the tiles divide: all images are placed within the hull of the fitted ones."""
        low, high = (edge(self.fitted.train, 0).astype(float) for edge in (np.min, np.max))
        side = max(float((high - low).max()) * (1 + 2 * MARGIN), 1e-6)
        x, y = ((low + high - side) / 2).tolist()
        return Square(x, y, side)

    # ---- prototypes -------------------------------------------------------------------------------------------------

    def places_path(self, sweep: ShardedSweep) -> Path:
        """The file of what `place_prototypes` gives."""
        # what an earlier version placed by exemplars is not taken for places of centers
        back = "" if sweep.metric == EUCLIDEAN or sweep.space is None else f", mapped back {sweep.length}"
        key = digest({"centers": sweep.centers, "classes": sweep.classes}, sweep.metric + back)[:20]
        return self.folder / f"prototypes-{key}.safetensors"

    def peek_prototypes(self, sweep: ShardedSweep) -> PrototypePlaces | None:
        """Where the prototypes of a sweep are, if that is known."""
        with contextlib.suppress(FileNotFoundError, StoreError, TypeError):
            found = PrototypePlaces.from_arrays(read_file(self.places_path(sweep))[0])
            return found if found.places.shape == (len(sweep.centers), 2) else None
        return None

    def place_prototypes(self, sweep: ShardedSweep) -> PrototypePlaces:
        """Place the prototypes of a sweep, unless that was done.

        They are where their centers are, mapped back to the embedding; those of a sweep whose metric an earlier version
        did not keep, where their exemplars are.

        Raises:
            InputError: when a part with exemplars is damaged.
            StoreError: when the places cannot be written.
        """
        if (found := self.peek_prototypes(sweep)) is not None:
            return found
        from kmex_core.analysis import projection

        space = sweep.space
        if space is None:
            z = rows_at(self.embedding, np.maximum(sweep.exemplars[:, 0], 0))
        else:
            z = space.back(sweep.centers)
        places, remote = projection.located(self.fitted, z)
        found = PrototypePlaces(places, remote > self.fitted.limit)
        write_file(self.places_path(sweep), found.to_arrays(), {})
        return found

    # ---- the counts -------------------------------------------------------------------------------------------------

    def counts_path(self, number: int) -> Path:
        """The file of what `count` gives of a part, until the tiles are written."""
        return self.folder / "counts" / f"{number:06d}.npy"

    def count(self, number: int) -> np.ndarray:
        """The counts of a part at the finest level, made unless they are there; workers may make different ones.

        Args:
            number: of the part.

        Returns:
            `tiles.ENTRY`s by code, in a file that is mapped into memory.

        Raises:
            InputError: when the part is damaged.
            StoreError: when they cannot be written.
        """
        path = self.counts_path(number)
        with contextlib.suppress(OSError, ValueError, EOFError):
            found = np.load(path, "r", allow_pickle=False)
            if found.dtype == tiles.ENTRY and int(found["count"].sum()) == self.embedding.parts[number].rows:
                return np.asarray(found)
        from kmex_core.analysis import projection

        block = self.embedding.block(number)
        places = projection.place(self.fitted, block.z)
        file = io.BytesIO()
        np.save(file, tiles.counted(block, places, self.square, self.finest, self.classes), allow_pickle=False)
        write_bytes(path, file.getvalue(), durable=False)
        return np.asarray(np.load(path, "r", allow_pickle=False))

    # ---- the tiles --------------------------------------------------------------------------------------------------

    def write(self, engine: Engine, progress: Progress = silent) -> TileMap:
        """Write the tiles of all levels from the counts of all parts, which are removed.

        Args:
            engine: connected; its workers write each a tile of the level `SPLIT`, with all finer ones in it.
            progress: called for each of these.

        Raises:
            StoreError: when they cannot be written.
        """
        split = min(SPLIT, self.finest)
        # a tile of the level `split` is one range of codes, in each part
        step = (BINS << (self.finest - split)) ** 2 * self.classes
        edges = np.arange(4**split + 1, dtype=np.uint64) * np.uint64(step)
        numbers = range(len(self.embedding.parts))
        ranges = np.stack([np.searchsorted(self.count(number)["code"], edges) for number in numbers])
        shared, written = _Branches(self._shared, ranges), []
        progress(Event("Writing density tiles", 0, 4**split))
        for each in engine.map(_write_branch, shared, range(4**split)):
            written.append(each)
            progress(Event("Writing density tiles", len(written), 4**split))
        above = self.write_levels(tiles.merged([each.rest for each in written]), range(split - 1, 0, -1))
        coarsest = self.write_levels(above.rest, range(1))
        described = self._described(above.rest, [*written, above, coarsest])
        described.write(self.folder)
        for path in (self.folder / "counts").glob("*.npy"):
            path.unlink(missing_ok=True)
        return described

    def write_levels(self, entries: np.ndarray, levels: Sequence[int]) -> _Written:
        """Write the tiles of some levels, the finest first, that these entries are all of."""
        present: dict[int, list[int]] = {}
        most: dict[int, int] = {}
        for level in levels:
            places = [tiles.write_tile(self.folder, level, each, self.classes)
                      for each in tiles.by_tile(entries, self.classes)]  # fmt: skip
            present[level] = [row * 2**level + column for column, row in places]
            most[level] = tiles.fullest(entries, self.classes)
            entries = tiles.coarser(entries, self.classes)
        return _Written(present, most, entries)

    def _described(self, coarsest: np.ndarray, written: Sequence[_Written]) -> TileMap:
        label = (coarsest["code"] % np.uint64(self.classes)).astype(np.int64)
        counts, wrong = (
            np.bincount(label, coarsest[name], self.classes).astype(int).tolist() for name in ("count", "wrong")
        )
        levels = [[each for each in written if level in each.present] for level in range(self.finest + 1)]
        return TileMap(
            rows=sum(counts),
            finest=self.finest,
            square=self.square,
            counts=tuple(counts),
            wrong=tuple(wrong),
            has_black_box=bool((self.fitted.black_box != NO_CLASS).any()),
            names=tuple(tiles.name_places(coarsest, self.classes, self.square)),
            most=tuple(max(each.most[level] for each in of_level) for level, of_level in enumerate(levels)),
            present=tuple(
                tuple(sorted(tile for each in of_level for tile in each.present[level]))
                for level, of_level in enumerate(levels)
            ),
            sample=len(self.fitted.sample),
            trustworthiness=float(self.fitted.trustworthiness),
        )

    @property
    def _shared(self) -> _Shared:
        return _Shared(self.embedding.folder, self.embedding.key, self.spec.sample, self.spec.seed)


@dataclass(frozen=True, eq=False)
class _Written:
    """What a task has written of some levels.

    Attributes:
        present: its tiles, by level.
        most: the most images in a bin, by level.
        rest: the entries of the next coarser level.
    """

    present: dict[int, list[int]]
    most: dict[int, int]
    rest: np.ndarray


@dataclass(frozen=True)
class _Shared:
    """What workers need; `key` is the embedding's, so that none goes on with one that was there before."""

    folder: Path
    key: str
    sample: int
    seed: int


@dataclass(frozen=True, eq=False)
class _Branches:
    """What those need who write tiles: besides the map, (P, T + 1) where the entries of each tile begin in a part."""

    map: _Shared
    ranges: np.ndarray


@functools.lru_cache(maxsize=1)
def _opened(shared: _Shared) -> DensityMap:
    return DensityMap(ShardedEmbedding.open(shared.folder), shared.sample, shared.seed)


def _count(shared: _Shared, number: int) -> None:
    """The task of an engine: place and count a part."""
    _opened(shared).count(number)


def _write_branch(shared: _Branches, tile: int) -> _Written:
    """The task of an engine: write a tile of the level `SPLIT`, and all finer ones in it."""
    density_map = _opened(shared.map)
    parts = []
    for number, (first, stop) in enumerate(shared.ranges[:, tile : tile + 2].tolist()):
        if first < stop:
            parts.append(np.array(np.load(density_map.counts_path(number), "r", allow_pickle=False)[first:stop]))
    split = min(SPLIT, density_map.finest)
    return density_map.write_levels(tiles.merged(parts), range(density_map.finest, split - 1, -1))


def rows_at(embedding: ShardedEmbedding, indices: np.ndarray) -> np.ndarray:
    """The embeddings (n, D) of rows (n,); their parts are read, one at a time."""
    z = np.empty((len(indices), embedding.dimensions), np.float32)
    parts = np.searchsorted([part.first for part in embedding.parts], indices, side="right") - 1
    for number in np.unique(parts).tolist():
        wanted = parts == number
        z[wanted] = embedding.block(number).z[indices[wanted] - embedding.parts[number].first]
    return z
