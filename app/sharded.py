"""What pages and routes read of sharded embeddings: their manifests and results, never their rows.

Each is held under its file and when that changed, so that what is made anew is read anew; a few at most.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app import read
from kmex_core.base.errors import InputError
from kmex_core.base.files import regular_files
from kmex_core.base.store import checked_name
from kmex_core.scale.sharded import MANIFEST, ROOM, ShardedEmbedding, manifests
from kmex_core.scale.tiles import MAP, TileMap

if TYPE_CHECKING:
    from kmex_core.prototypes.suggestion import Evidence
    from kmex_core.scale.density import DensityMap, PrototypePlaces
    from kmex_core.scale.sweep import ShardedSweep

HELD = 16


def is_any() -> bool:
    """Whether the store has a sharded embedding."""
    return bool(manifests(read.store()))


def embeddings() -> tuple[dict[str, ShardedEmbedding], list[str]]:
    """The sharded embeddings of the store by the names of their folders, and a message for each that is damaged."""
    found, damaged = {}, []
    for manifest in manifests(read.store()):
        try:
            found[manifest.parent.name] = embedding(manifest.parent.name)
        except InputError as error:
            damaged.append(str(error))
    return found, damaged


def embedding(name: str) -> ShardedEmbedding:
    """A sharded embedding of the store.

    Raises:
        InputError: when there is none of this name, or its manifest is damaged.
    """
    folder = read.store().root / ROOM / checked_name(name)
    try:
        state = (folder / MANIFEST).stat()
    except OSError as error:
        raise InputError(f"The store has no sharded embedding '{name}'.") from error
    return _embedding(folder, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=HELD)
def _embedding(folder: Path, changed: int, size: int) -> ShardedEmbedding:
    return ShardedEmbedding.open(folder)


def _map(of: ShardedEmbedding) -> DensityMap:
    from kmex_core.scale.density import DensityMap  # the frame of every page asks this module, and needs no more of it

    return DensityMap(of)


def tile_map(of: ShardedEmbedding) -> TileMap | None:
    """What there is of the density map of an embedding; None while there are no tiles.

    Raises:
        InputError: when its description is damaged.
    """
    path = _map(of).folder / MAP
    return _tile_map(of, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=HELD)
def _tile_map(of: ShardedEmbedding, changed: int) -> TileMap | None:
    return _map(of).peek()


def sweep(of: ShardedEmbedding) -> ShardedSweep | None:
    """The prototypes of an embedding, see `stored_sweep`."""
    from kmex_core.scale.sweep import SWEEP

    files = regular_files(of.results, re.compile(SWEEP))
    return _sweep(of, tuple((file.name, file.stat().st_mtime_ns) for file in files)) if files else None


@lru_cache(maxsize=HELD)
def _sweep(of: ShardedEmbedding, files: tuple[tuple[str, int], ...]) -> ShardedSweep | None:
    from kmex_core.scale.sweep import stored_sweep

    return stored_sweep(of)


def suggestion(of: ShardedEmbedding, prototypes: ShardedSweep) -> Evidence | None:
    """The evidence for numbers of prototypes in the metric of those that were found; None while there is none."""
    path = _suggestion_path(of, prototypes)
    return _suggestion(of, prototypes, path.stat().st_mtime_ns) if path is not None and path.is_file() else None


@lru_cache(maxsize=HELD)
def _suggestion_path(of: ShardedEmbedding, prototypes: ShardedSweep) -> Path | None:
    from kmex_core.scale.suggestion import suggestion_path

    return None if prototypes.space is None else suggestion_path(of, prototypes.space)


@lru_cache(maxsize=HELD)
def _suggestion(of: ShardedEmbedding, prototypes: ShardedSweep, changed: int) -> Evidence | None:
    from kmex_core.scale.suggestion import stored_suggestion

    return None if prototypes.space is None else stored_suggestion(of, prototypes.space)


def places(of: ShardedEmbedding, prototypes: ShardedSweep) -> PrototypePlaces | None:
    """Where the prototypes of an embedding are on its density map; None while that is not known."""
    path = _map(of).places_path(prototypes)
    return _places(of, prototypes, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=HELD)
def _places(of: ShardedEmbedding, prototypes: ShardedSweep, changed: int) -> PrototypePlaces | None:
    return _map(of).peek_prototypes(prototypes)


@lru_cache(maxsize=HELD)
def bytes_on_disk(of: ShardedEmbedding) -> int:
    """How large an embedding's parts are."""
    paths = (of.folder / part.file for part in of.parts)
    return sum(path.stat().st_size for path in paths if path.is_file())
