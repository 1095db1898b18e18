"""Maintenance of a store's sharded embeddings: damaged parts and results, and what nobody needs.

Links are reported and never followed. Finished embeddings are never removed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import PART, keep_folder, parts_of, read_description, read_file, regular_files
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.store import LOCK, Store, demand_writable
from kmex_core.data.archives import size_of
from kmex_core.scale import attribute_rows, tiles
from kmex_core.scale.density import DensityMap
from kmex_core.scale.parts import check_part
from kmex_core.scale.sharded import MANIFEST, PART_FILE, RESULTS, ROOM, ShardedEmbedding
from kmex_core.scale.sweep import stored_sweeps
from kmex_core.stages import upkeep
from kmex_core.stages.drafts import KEPT
from kmex_core.stages.upkeep import Finding, Verified

_FOLDER = re.compile(r"(tiles|work|clusters)-[0-9a-f]{20}")
_RESULT = re.compile(r"(sweep|suggestion|figures)-[0-9a-f]{20}\.safetensors")
_IN_TILES = re.compile(r"map\.json|counts/\d{6,9}\.npy|\d/\d+-\d+\.gz")
_COUNTS = re.compile(r"\d{6,9}\.npy")
_PLACES = re.compile(r"prototypes-[0-9a-f]{20}\.safetensors")
_PASS = re.compile(r"(class-\d{6,9})-.+\.safetensors")  # what the prototypes of a large class are made from
LINK, FOREIGN = "a symbolic link, which is not followed", "not of this project"
KILLED = "the rest of a write that was killed"
CHANGED = "made of rows that are no longer there"


# ---- what there is --------------------------------------------------------------------------------------------------


def _room(store: Store) -> list[tuple[Path, bool]]:
    """What is in the room of sharded embeddings."""
    room = store.root / ROOM
    return [] if room.is_symlink() else _entries(room)


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """What is in a folder, by name, and whether it is a folder itself (and no link to one)."""
    try:
        with os.scandir(folder) as entries:
            return sorted((Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError:
        return []


def _folders(folder: Path) -> Iterator[Path]:
    """A folder, and all below it; links are not followed."""
    waiting = [folder]
    while waiting:
        yield (here := waiting.pop())
        waiting += [path for path, is_folder in _entries(here) if is_folder]


def _below(folder: Path) -> Iterator[Path]:
    """All files and links below a folder; links are not followed."""
    for each in _folders(folder):
        yield from (path for path, is_folder in _entries(each) if not is_folder)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _finding(store: Store, path: Path, why: str) -> Finding:
    try:
        size = size_of(path) if _is_folder(path) else path.lstat().st_size
    except OSError:
        size = 0  # removed meanwhile
    return Finding(str(path.relative_to(store.root)), why, size)


# ---- verify ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Check:
    """A file that is read in full, and what raises an error when it is not as it was written."""

    path: Path
    check: Callable[[], object]


def verify(store: Store, progress: Progress = silent) -> Verified:
    """Compare the parts of every finished embedding with its manifest, and read its results.

    A part whose footer is wrong is not read any further; others are compared with their digests, one at a time. Parts
    of an unfinished embedding are left to the command that goes on with it.

    Args:
        store: the store.
        progress: called before each file.
    """
    checks, damaged, unknown, rests = list[_Check](), list[Finding](), list[Finding](), list[Finding]()
    for path, is_folder in _room(store):
        if not is_folder and not LOCK.fullmatch(path.name):
            unknown.append(_finding(store, path, LINK if path.is_symlink() else FOREIGN))
    for folder in (path for path, is_folder in _room(store) if is_folder):
        killed = {path for each in _folders(folder) for path in parts_of(each)}
        rests += [_finding(store, path, KILLED) for path in sorted(killed)]
        for path in _below(folder):
            if path.is_symlink() or not path.is_file() or not _is_known(path.relative_to(folder)):
                unknown.append(_finding(store, path, LINK if path.is_symlink() else FOREIGN))
        try:
            checks += _checks(folder)
        except InputError as error:
            damaged.append(_finding(store, folder / MANIFEST, str(error)))
    files, size = 0, 0
    for done, each in enumerate(checks):
        progress(Event("Verifying sharded embeddings", done, len(checks)))
        try:
            each.check()
            size += each.path.stat().st_size
        except FileNotFoundError:
            continue  # removed meanwhile
        except (StoreError, InputError, OSError) as error:
            damaged.append(_finding(store, each.path, str(error)))
            continue
        files += 1
    progress(Event("Verifying sharded embeddings", len(checks), len(checks)))
    return Verified(files, size, damaged, unknown, rests)


def _is_known(path: Path) -> bool:
    """Whether this project writes a file of this path in the folder of an embedding."""
    if PART.fullmatch(path.name):
        return True
    if len(path.parts) == 1:
        return path.name == MANIFEST or PART_FILE.fullmatch(path.name) is not None
    if path.parts[0] == attribute_rows.FOLDER:
        return len(path.parts) == 2 and attribute_rows.FILE.fullmatch(path.name) is not None
    if path.parts[0] != RESULTS:
        return False
    of_tiles = len(path.parts) > 2 and path.parts[1].startswith("tiles-")
    return path.suffix == ".safetensors" or (of_tiles and _IN_TILES.fullmatch("/".join(path.parts[2:])) is not None)


def _checks(folder: Path) -> list[_Check]:
    """What is checked of a folder.

    Raises:
        InputError: when its manifest is damaged.
    """
    if (folder / MANIFEST).is_symlink() or not (folder / MANIFEST).is_file():
        return []  # unfinished
    embedding = ShardedEmbedding.open(folder)
    found = [_Check(folder / MANIFEST, functools.partial(ShardedEmbedding.open, folder))]
    for part in embedding.parts:
        check = functools.partial(check_part, folder, part, embedding.dimensions)
        found.append(_Check(folder / part.file, check))
    if _is_folder(folder / attribute_rows.FOLDER):
        found += _checks_of_attributes(embedding)
    for path in _below(folder / RESULTS) if _is_folder(folder / RESULTS) else ():
        if path.suffix == ".safetensors" and not path.is_symlink() and path.is_file():
            found.append(_Check(path, functools.partial(read_file, path, mapped=True)))
        elif path.name == tiles.MAP and path.parent.name.startswith("tiles-") and not path.is_symlink():
            found += _checks_of_map(path.parent, len(embedding.class_names))
    return found


def _checks_of_attributes(embedding: ShardedEmbedding) -> list[_Check]:
    """What describes attributes, and those of each part where that is right."""
    folder = embedding.folder / attribute_rows.FOLDER
    if not (folder / attribute_rows.ABOUT).is_file():
        return []  # unfinished
    found = [_Check(folder / attribute_rows.ABOUT, functools.partial(attribute_rows.AttributeRows.open, embedding))]
    with contextlib.suppress(InputError):
        rows = attribute_rows.AttributeRows.open(embedding)
        for number in range(len(embedding.parts)):
            path = attribute_rows.part_path(embedding.folder, number)
            found.append(_Check(path, functools.partial(rows.part, number)))
    return found


def _checks_of_map(folder: Path, classes: int) -> list[_Check]:
    """The description of a density map, and its tiles where that is right."""
    try:
        found = tiles.read_map(folder, classes)
    except InputError as error:
        return [_Check(folder / tiles.MAP, functools.partial(_raise, error))]
    if found is None:
        return []
    checks = [_Check(folder / tiles.MAP, functools.partial(tiles.read_map, folder, classes))]
    for level, present in enumerate(found.present):
        for tile in present:
            row, column = divmod(tile, 2**level)
            path = tiles.tile_path(folder, level, column, row)
            checks.append(_Check(path, functools.partial(tiles.check_tile, path, found.rows)))
    return checks


def _raise(error: InputError) -> None:
    raise error


# ---- clean ----------------------------------------------------------------------------------------------------------


def needless(store: Store, progress: Progress = silent) -> list[Finding]:
    """What nobody needs any more: rests of killed writes, parts that no manifest has, results of other rows, work for
    results that are stored, and what nobody has gone on with for a month. No rows are read.

    Args:
        store: the store.
        progress: called before each embedding.
    """
    folders, found = [path for path, is_folder in _room(store) if is_folder], list[Finding]()
    for done, folder in enumerate(folders):
        progress(Event("Looking through sharded embeddings", done, len(folders)))
        for each in _folders(folder):
            found += [_finding(store, path, KILLED) for path in parts_of(each)]
        found += [_finding(store, path, why) for path, why in _needless_in(store, folder)]
    progress(Event("Looking through sharded embeddings", len(folders), len(folders)))
    names = {folder.name.lower() for folder in folders}
    for path in regular_files(store.root / ROOM, LOCK) if _room(store) else ():
        lock = LOCK.fullmatch(path.name)
        if lock is not None and lock[1].lower() not in names and not upkeep.in_use(path):
            found.append(_finding(store, path, "a lock of nothing"))
    return found


def _needless_in(store: Store, folder: Path) -> Iterator[tuple[Path, str]]:
    parts, manifest, results = regular_files(folder, PART_FILE), folder / MANIFEST, folder / RESULTS
    if not manifest.is_file():
        if parts and not _is_going_on(folder):
            yield from ((path, "of an unfinished embedding that nobody has gone on with for a month") for path in parts)
        elif not parts and _is_folder(results):
            yield results, "results of an embedding that is gone"
        return
    try:
        embedding = ShardedEmbedding.open(folder)
    except InputError:
        return  # `verify` tells of it; it may be put right
    listed = {part.file for part in embedding.parts}
    yield from ((path, "a part that its manifest does not have") for path in parts if path.name not in listed)
    if _is_folder(results):
        yield from _in_results(store, embedding)


def _in_results(store: Store, embedding: ShardedEmbedding) -> Iterator[tuple[Path, str]]:
    for path in regular_files(embedding.results, _RESULT):
        with contextlib.suppress(StoreError, FileNotFoundError):  # damaged: `verify` tells of it
            if read_description(path).get("embedding", "") not in ("", embedding.key):
                yield path, CHANGED
    for path, is_folder in _entries(embedding.results):
        match = _FOLDER.fullmatch(path.name)
        if is_folder and match is not None:
            if match[1] == "tiles":
                yield from _in_tiles(embedding, path)
            elif match[1] == "work":
                yield from _of_work(store, path)
            else:
                yield from _in_clusters(path)


def _in_tiles(embedding: ShardedEmbedding, folder: Path) -> Iterator[tuple[Path, str]]:
    try:
        density_map = DensityMap(embedding)
    except InputError:
        return
    if folder != density_map.folder:
        yield folder, "a density map that is no longer shown: of other rows, or drawn by an earlier version"
        return
    if not (folder / tiles.MAP).is_file():
        return  # it may be in the making
    if _is_folder(folder / "counts"):
        yield from ((path, "counts of tiles that are written") for path in regular_files(folder / "counts", _COUNTS))
    needed = {density_map.places_path(sweep) for _, sweep in stored_sweeps(embedding)}
    for path in regular_files(folder, _PLACES):
        if path not in needed:
            yield path, "places of prototypes that are gone"


def _of_work(store: Store, folder: Path) -> Iterator[tuple[Path, str]]:
    key = folder.name.rpartition("-")[2]
    beside = (folder.parent / f"{kind}-{key}.safetensors" for kind in ("sweep", "suggestion", "figures"))
    if any(path.is_file() for path in [*beside, *(store.path(room, key) for room in upkeep.RESULTS)]):
        yield folder, "made for a result that is stored"
    elif not _is_going_on(folder):
        yield folder, "of an interrupted computation that nobody has gone on with for a month"


def _in_clusters(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in regular_files(folder, _PASS):
        match = _PASS.fullmatch(path.name)
        if match is not None and (folder / f"{match[1]}.safetensors").is_file():
            yield path, "made for a result that is stored"


def _is_going_on(folder: Path) -> bool:
    """Whether something in a folder was written in the last month."""
    with contextlib.suppress(OSError):
        newest = max((path.lstat().st_mtime for path in _below(folder)), default=folder.lstat().st_mtime)
        return time.time() - newest < KEPT
    return True  # somebody is at it


def remove(store: Store, findings: Iterable[Finding]) -> tuple[int, int]:
    """Remove what `needless` has found, as far as it is still needless.

    Returns:
        How many files (a folder is one), and how many bytes.

    Raises:
        InputError: when the store is read-only.
        StoreError: when a file cannot be removed.
    """
    demand_writable("Files cannot be removed from the store")
    still = {finding.path for finding in needless(store)}
    files, freed = 0, 0
    for finding in findings:
        path = store.root / finding.path
        if finding.path in still and _removed(path):
            files, freed = files + 1, freed + finding.bytes
            keep_folder(path.parent)
    return files, freed


def _removed(path: Path) -> bool:
    """Remove a file or a folder, unless it is in use.

    Raises:
        StoreError: when it cannot be removed.
    """
    try:
        if _is_folder(path):
            shutil.rmtree(path)
        elif LOCK.fullmatch(path.name):
            with FileLock(path, timeout=0):
                path.unlink()  # whoever waits for it sees that it is gone, and makes another
        else:
            path.unlink()
    except (Timeout, FileNotFoundError):
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be removed: {error.strerror or error}.") from error
    return True
