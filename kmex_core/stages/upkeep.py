"""Maintenance of the store: damaged files, unneeded files, and sizes.

Only files written by this project are judged. Other files and the targets of symbolic links are reported and left
alone.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kmex_core.base import jobs
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import (
    PART,
    digest,
    keep_folder,
    parts_of,
    read_description,
    read_file,
    regular_files,
    remove_file,
)
from kmex_core.base.location import REPRODUCTIONS, SHARDED
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import (
    DivergenceSpec,
    EmbeddingSpec,
    GeometrySpec,
    MapChecksSpec,
    MapScoresSpec,
    PatchSpec,
    ProjectionSpec,
    PrototypeSpec,
    ReproductionSpec,
    Spec,
    SuggestionSpec,
    SweepSpec,
    stable_key,
)
from kmex_core.base.store import LOCK, Store, demand_writable
from kmex_core.data import archives, uploads
from kmex_core.models import catalogue
from kmex_core.stages import drafts, shards, versions
from kmex_core.stages.subject import dataset_of

# which specs name the results of a room
SPECS: dict[str, tuple[type[Spec], ...]] = {
    "embeddings": (EmbeddingSpec,),
    "prototypes": (PrototypeSpec,),
    "sweeps": (SweepSpec,),
    "suggestions": (SuggestionSpec,),
    "geometry": (GeometrySpec,),
    "patches": (PatchSpec,),
    "projections": (ProjectionSpec,),
    "evaluations": (MapScoresSpec, DivergenceSpec, MapChecksSpec),
    REPRODUCTIONS: (ReproductionSpec,),
}
RESULTS = (*SPECS, shards.ROOM, "statistics")
ROOMS = (catalogue.ROOM, *catalogue.RUNS, *RESULTS)
# in the store, and not looked into here: data sets that were downloaded or unpacked, and what `scale.upkeep` looks into
ELSEWHERE = ("data", archives.ROOM, SHARDED)
HOUR = 3600.0
_RESULT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.safetensors")
_KNOWN = {
    **dict.fromkeys(ROOMS, _RESULT),
    jobs.ROOM: jobs.FILES,
    drafts.ROOM: drafts.FILES,
    versions.ROOM: versions.FILES,
    uploads.ROOM: re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]*\.weights|{uploads.RECORD.pattern}"),
}


@dataclass(frozen=True)
class Finding:
    """A file of the store with a finding.

    Attributes:
        path: relative to the store's folder.
        why: the finding.
        bytes: its size.
    """

    path: str
    why: str
    bytes: int


@dataclass(frozen=True)
class Verified:
    """The result of `verify`.

    Attributes:
        files, bytes: number and size of the files read in full.
        damaged: files that differ from what was written.
        unknown: files not written by this project, and symbolic links; neither was opened.
        rests: partial files left by killed writers; `clean` removes them.
    """

    files: int
    bytes: int
    damaged: list[Finding]
    unknown: list[Finding]
    rests: list[Finding]

    def __add__(self, other: Verified) -> Verified:
        return Verified(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def _finding(store: Store, path: Path, why: str) -> Finding:
    try:
        size = path.lstat().st_size
    except OSError:
        size = 0
    return Finding(str(path.relative_to(store.root)), why, size)


# ---- verify ---------------------------------------------------------------------------------------------------------


def verify(store: Store, progress: Progress = silent) -> Verified:
    """Read every file of the store and compare it with its digests.

    Raises:
        InputError: when there is no such store.
    """
    _check_there(store)
    damaged, unknown, rests, files, size = [], [], [], 0, 0
    unknown += [
        _finding(store, path, "a symbolic link, which is not followed" if path.is_symlink() else "not of this project")
        for path in sorted(store.root.iterdir())
        if path.is_symlink() or (path.is_dir() and path.name not in (*_KNOWN, *ELSEWHERE))
    ]
    todo = []
    for room, known in _KNOWN.items():
        folder = store.root / room
        if folder.is_symlink() or not folder.is_dir():
            continue
        left = set(parts_of(folder))
        rests += [_finding(store, path, "the rest of a write that was killed") for path in sorted(left)]
        for path in sorted(folder.iterdir()):
            regular = path.is_file() and not path.is_symlink()
            if regular and known.fullmatch(path.name):
                todo.append((room, path))
            elif room == uploads.ROOM and _is_upload(path):
                continue  # what people have sent has no digest
            elif not (regular and (LOCK.fullmatch(path.name) or PART.fullmatch(path.name))):
                why = "a symbolic link, which is not followed" if path.is_symlink() else "not of this project"
                unknown.append(_finding(store, path, why))
    for done, (room, path) in enumerate(todo):
        progress(Event("Verifying", done, len(todo)))
        try:
            bytes_read = path.stat().st_size
            _check(store, room, path)
        except FileNotFoundError:
            continue  # removed meanwhile
        except (StoreError, InputError, OSError) as error:
            damaged.append(_finding(store, path, str(error)))
            continue
        files, size = files + 1, size + bytes_read
    progress(Event("Verifying", len(todo), len(todo)))
    return Verified(files, size, damaged, unknown, rests)


def _is_upload(path: Path) -> bool:
    """Whether a folder is an uploaded data set, or the rest of one, which `clean` removes."""
    known = uploads.NAME.fullmatch(path.name) or uploads.ASIDE.fullmatch(path.name)
    return known is not None and path.is_dir() and not path.is_symlink()


def _check(store: Store, room: str, path: Path) -> None:
    """Raise StoreError when a file is not what was written there."""
    if room == jobs.ROOM and path.suffix == ".json" and jobs.look(store, path.stem) is None:
        raise StoreError("It is not a valid job.")
    if room == versions.ROOM:
        versions.read_file(path)
    if room not in ROOMS:
        return
    arrays, description = read_file(path, mapped=True)  # checked piece by piece
    if room == catalogue.ROOM:
        catalogue.info_of(description, path.stem, path)
        if description.get("weights") != digest(arrays):
            raise StoreError(f"{path} is damaged: its weights do not match its header.")
    elif room in SPECS and path.stem not in _keys(room, description):
        raise StoreError(f"{path} does not match its name.")


def _keys(room: str, description: dict[str, Any]) -> list[str]:
    return [stable_key([kind.kind, description.get("spec")]) for kind in SPECS[room]]


def _check_there(store: Store) -> None:
    if not store.root.is_dir():
        raise InputError(f"There is no store at {store.root} yet. It is created when the first result is stored.")


# ---- size -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RoomSize:
    """How much a folder of the store takes: `files` of `bytes` in all, links and what they lead to left out."""

    name: str
    files: int
    bytes: int


def size(store: Store) -> tuple[list[RoomSize], int]:
    """How much each room of the store takes, the largest first, and how many bytes are free on its disk.

    Raises:
        InputError: when there is no such store.
    """
    _check_there(store)
    rooms = []
    for folder in sorted(store.root.iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            sizes = list(_sizes(folder))
            rooms.append(RoomSize(folder.name, len(sizes), sum(sizes)))
    return sorted(rooms, key=lambda room: (-room.bytes, room.name)), shutil.disk_usage(store.root).free


def _sizes(folder: Path) -> Iterator[int]:
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            try:
                if not path.is_symlink() and path.is_file():
                    yield path.stat().st_size
            except OSError:
                continue  # removed meanwhile


# ---- clean ----------------------------------------------------------------------------------------------------------


def needless(store: Store, progress: Progress = silent) -> list[Finding]:
    """What nobody needs any more: rests of killed writes, locks, uploads and unpacked archives without a user, old
    drafts, results and versions of what is gone.

    Never a model or a training's checkpoints. Where a model cannot be read, or its data set cannot be opened now,
    what may be theirs is not needless.

    Raises:
        InputError: when there is no such store.
    """
    _check_there(store)
    findings = []
    for room in _KNOWN:
        folder = store.root / room
        if folder.is_symlink():
            continue
        findings += [_finding(store, path, "the rest of a write that was killed") for path in parts_of(folder)]
        findings += [_finding(store, path, "a lock of nothing") for path in _idle_locks(store, room)]
    findings += [
        _finding(store, path, "a draft that nobody has changed for a month") for path in drafts.needless(store)
    ]
    for path in regular_files(store.root / uploads.ROOM, _KNOWN[uploads.ROOM]):
        unused = path.suffix == ".weights" and not (_is_imported(store, path) or drafts.is_awaited(store, path))
        if unused and time.time() - path.stat().st_mtime > HOUR:
            findings.append(_finding(store, path, "an upload that no import waits for"))
    for path, why in uploads.rests(store, HOUR):
        size_of = archives.size_of(path) if path.is_dir() else path.stat().st_size
        findings.append(Finding(str(path.relative_to(store.root)), why, size_of))
    for path, why in archives.needless_folders(store.root, _archives(store), HOUR):
        findings.append(Finding(str(path.relative_to(store.root)), why, archives.size_of(path)))
    return [*findings, *(_finding(store, path, why) for path, why in _gone(store, progress))]


def _archives(store: Store) -> Callable[[Path], bool]:
    """Whether a path may be the data set of a model: of any, where one cannot be read."""
    infos, broken = catalogue.list_models(store)
    names = {Path(info.dataset).name for info in infos}  # a data set may have moved
    return lambda path: bool(broken) or path.name in names


def _is_imported(store: Store, path: Path) -> bool:
    """Whether a job that is known, running or not, was given this upload."""
    return any(
        str(path) in job.arguments
        for name in jobs.names(store, "")
        if (job := jobs.look(store, name)) is not None and job.state != "done"
    )


def _idle_locks(store: Store, room: str) -> Iterator[Path]:
    folder = store.root / room
    names = {path.stem.lower() for path in regular_files(folder, _KNOWN[room])}
    if room == catalogue.RUNS[0]:  # the claims of models' names
        names |= {name.lower() for name in catalogue.known_names(store)}
        names |= {name.lower() for name in store.names(catalogue.RUNS[1])}
    for path in regular_files(folder, LOCK):
        name = LOCK.fullmatch(path.name)
        if name is not None and name[1].lower() not in names and not in_use(path):
            yield path


def in_use(lock: Path) -> bool:
    """Whether a process holds a lock."""
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _gone(store: Store, progress: Progress) -> Iterator[tuple[Path, str]]:
    """Results of models that are not in the store, or of data that have changed, and what was made of those."""
    infos, broken = catalogue.list_models(store)
    if broken:
        return
    weights = {info.name: catalogue.weights_key(store, info.name) for info in infos}
    yield from versions.of_gone_models(store, set(weights.values()))
    data: dict[str, set[str]] = {}  # by weights: the fingerprints of their data, where all of those can be opened now
    closed = set()
    for done, info in enumerate(infos):
        progress(Event("Opening data sets", done, len(infos)))
        try:
            data.setdefault(weights[info.name], set()).add(dataset_of(info).fingerprint)
        except (InputError, StoreError, OSError):
            closed.add(weights[info.name])
    progress(Event("Opening data sets", len(infos), len(infos)))
    needed: dict[str, bool] = {}  # by the key of a result that others are made of

    def judge(room: str, why: Callable[[dict[str, Any], dict[str, Any]], str]) -> Iterator[tuple[Path, str]]:
        for path in regular_files(store.root / room, _RESULT):
            try:
                description = read_description(path)
                reason = why(dict(description["spec"]), description)
            except (StoreError, FileNotFoundError, KeyError, TypeError, ValueError):
                continue  # `verify` tells of it, and it is made again when it is needed
            needed[path.stem] = not reason
            if reason:
                yield path, reason

    def embedding(spec: dict[str, Any], _: dict[str, Any]) -> str:
        if spec["weights"] not in weights.values():
            return "of a model that is gone"
        if spec["weights"] not in closed and spec["data"] not in data[spec["weights"]]:
            return "of data that have changed since"
        return ""

    def made_of(field: str) -> Callable[[dict[str, Any], dict[str, Any]], str]:
        def why(spec: dict[str, Any], description: dict[str, Any]) -> str:
            known = needed.get(spec[field])
            gone = not known if known is not None else description.get("model") not in weights
            return "made of a result that is needless" if gone else ""

        return why

    def evaluation(spec: dict[str, Any], description: dict[str, Any]) -> str:
        return "" if "scores" in spec else made_of("prototypes")(spec, description)

    def divergence(spec: dict[str, Any], _: dict[str, Any]) -> str:
        if "scores" not in spec:
            return ""
        # a comparison with another network: the scores that it goes with have been judged before, whatever their names
        gone = spec["reference"] not in weights.values() or spec["scores"] in needless_scores
        return "of a model that is gone" if gone else ""

    def shard(spec: dict[str, Any], description: dict[str, Any]) -> str:
        (key,) = _keys("embeddings", description)
        if store.path("embeddings", key).is_file():
            return "of an embedding that was computed to its end"
        return embedding(spec, description)

    yield from judge("embeddings", embedding)
    yield from judge(shards.ROOM, shard)
    for room in ("prototypes", "geometry", "patches", "projections"):
        yield from judge(room, made_of("embedding"))
    scores = list(judge("evaluations", evaluation))
    yield from scores
    needless_scores = {path.stem for path, _ in scores}
    yield from judge("evaluations", divergence)


def remove(store: Store, findings: Iterable[Finding]) -> tuple[int, int]:
    """Remove what `needless` has found, as far as it is still needless.

    Returns:
        How many files (an unpacked archive is one), and how many bytes.

    Raises:
        InputError: when the store is read-only.
        StoreError: when a file cannot be removed.
    """
    demand_writable("Files cannot be removed from the store")
    files, freed = 0, 0
    for finding in findings:
        path = store.root / finding.path
        room = path.parent.name
        if (room == archives.ROOM and archives.remove_folder(path)) or (
            room == uploads.ROOM and uploads.remove_rest(path)
        ):
            files, freed = files + 1, freed + finding.bytes
        if path.is_symlink() or not path.is_file():
            continue
        try:
            if PART.fullmatch(path.name):
                if path not in parts_of(path.parent):
                    continue
                path.unlink()
            elif LOCK.fullmatch(path.name):
                with FileLock(path, timeout=0):
                    path.unlink()  # whoever waits for it sees that it is gone, and makes another
            elif room in RESULTS:
                with store.locked(room, path.stem, "It is being computed."):
                    remove_file(path)
                    (path.parent / f".{path.stem.lower()}.lock").unlink(missing_ok=True)
            else:
                path.unlink()
        except (Timeout, InputError):
            continue  # in use again
        except OSError as error:
            raise StoreError(f"{path} cannot be removed: {error.strerror or error}.") from error
        files, freed = files + 1, freed + finding.bytes
    for room in {Path(finding.path).parent.name for finding in findings}:
        if (store.root / room).is_dir():
            keep_folder(store.root / room)
    return files, freed
