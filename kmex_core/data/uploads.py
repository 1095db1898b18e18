"""Uploaded data sets: what a person sent to the store, each in a folder of its own that never changes.

An upload appears by one rename once all of it is there (see `receiving`), and goes by one. Beside its folder is a
record of its size, so that lists need not look at every file.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import keep_folder, write_bytes
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.store import Store, demand_writable
from kmex_core.data import archives

ROOM = "uploads"
NAMES = "names"  # the lock of whoever gives or takes away a name
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # without a dot: a record has one
RECORD = re.compile(rf"{NAME.pattern}\.json")
ASIDE = re.compile(r"\.[0-9a-f]{32}\.(part|gone)")  # unfinished, or about to be removed
LONGEST = 48
FALLBACK = "images"


@dataclass(frozen=True)
class Upload:
    """An uploaded data set.

    Attributes:
        name: in the store, unique whatever its capitals.
        path: the data set's: a folder, or the archive that is all there is in it.
        bytes, files: how much was uploaded.
        date: when it was finished.
    """

    name: str
    path: Path
    bytes: int
    files: int
    date: datetime


def folder_of(store: Store, name: str) -> Path:
    """The folder of an upload.

    Raises:
        InputError: when there is none of this name.
    """
    folder = store.root / ROOM / name
    if not NAME.fullmatch(name) or folder.is_symlink() or not folder.is_dir():
        raise InputError(f"There is no uploaded data set '{name[:80]}'. It may have been deleted; upload it again.")
    return folder


def record_of(folder: Path) -> Path:
    """The record beside an upload's folder. Images from Python have none."""
    return folder.with_name(f"{folder.name}.json")


def path_of(store: Store, name: str) -> Path:
    """What opens an upload as a data set: its folder, or the archive that is all there is in it.

    Raises:
        InputError: when there is none of this name.
    """
    return _opened(folder_of(store, name))


def _opened(folder: Path) -> Path:
    with os.scandir(folder) as entries:
        first = list(itertools.islice(entries, 2))
    if len(first) == 1 and first[0].is_file(follow_symlinks=False) and archives.is_archive(Path(first[0].name)):
        return Path(first[0].path)
    return folder


def listed(store: Store) -> list[Upload]:
    """All finished uploads, the newest first."""
    uploads = []
    for folder in folders(store):
        try:
            uploads.append(_described(folder))
        except OSError:
            continue  # deleted meanwhile
    return sorted(uploads, key=lambda upload: (upload.date, upload.name), reverse=True)


def folders(store: Store) -> list[Path]:
    """The folders of all finished uploads, sorted."""
    room = store.root / ROOM
    if room.is_symlink() or not room.is_dir():
        return []
    with os.scandir(room) as entries:
        return sorted(
            Path(entry.path) for entry in entries if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        )


def _described(folder: Path) -> Upload:
    path = _opened(folder)
    try:
        record = read_json(record_of(folder).read_text(encoding="utf-8"))
        date = datetime.fromisoformat(record["date"])
        return Upload(folder.name, path, int(record["bytes"]), int(record["files"]), date.astimezone(UTC))
    except (OSError, ValueError, KeyError, TypeError):  # somebody removed or damaged the record
        files = sum(len(names) for _, _, names in os.walk(folder))
        date = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        return Upload(folder.name, path, archives.size_of(folder), files, date)


def plain_name(text: str) -> str:
    """A name that the store can have, from that of a file or a folder: "Fotos für Öl.tar.gz" gives "Fotos-fur-Ol"."""
    lowered = text.lower()
    suffixes = (*archives.SUFFIXES, ".parquet", ".npz", ".csv")
    stem = text[: -len(next((suffix for suffix in suffixes if lowered.endswith(suffix)), "")) or None]
    letters = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", letters)[:LONGEST].strip("-_") or FALLBACK


def put(store: Store, files: Path, name: str, record: dict[str, object]) -> str:
    """Let a folder of the room appear as a finished upload.

    Args:
        store: the store.
        files: the folder, which moves.
        name: what it should be called; with a number behind it if that is taken.
        record: `files`, `bytes`, and `upload`, the id under which it was received.

    Returns:
        Its name.

    Raises:
        StoreError: when the store cannot be written.
    """
    room = store.root / ROOM
    with store.locked(ROOM, NAMES):
        taken = {folder.name.casefold() for folder in folders(store)}
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        free = next(one for one in itertools.chain([name], numbered) if one.casefold() not in taken)
        whole = {**record, "date": datetime.now(UTC).isoformat(timespec="seconds")}
        write_bytes(room / f"{free}.json", write_json(whole).encode())
        os.rename(files, room / free)
        keep_folder(room)
    return free


def received_as(store: Store, upload: str) -> str:
    """The name of the upload that was received under an id; "" if none was."""
    for folder in folders(store):
        try:
            if read_json(record_of(folder).read_text(encoding="utf-8"))["upload"] == upload:
                return folder.name
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""


def delete(store: Store, name: str) -> None:
    """Delete an upload, and what was unpacked of it. Models of it stay, and cannot open their images any more.

    Raises:
        InputError: when there is none of this name, or the store is read-only.
        StoreError: when it cannot be removed.
    """
    demand_writable(f"'{name[:80]}' cannot be deleted")
    gone = store.root / ROOM / f".{secrets.token_hex(16)}.gone"
    try:
        with store.locked(ROOM, NAMES):
            folder = folder_of(store, name)
            opened = _opened(folder)
            os.rename(folder, gone)
            record_of(folder).unlink(missing_ok=True)
            keep_folder(gone.parent)
        shutil.rmtree(gone)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"'{name}' cannot be deleted: {error.strerror or error}.") from error
    if opened != folder:
        archives.forget(store.root, opened)


def lock_of(aside: Path) -> Path:
    """The lock of whoever writes to an unfinished upload, or removes it."""
    return aside.with_suffix(".lock")


# ---- upkeep ---------------------------------------------------------------------------------------------------------


def rests(store: Store, age: float) -> Iterator[tuple[Path, str]]:
    """What uploads and deletions that were cut off have left.

    Args:
        store: the store.
        age: seconds since the last byte arrived from which an unfinished upload is judged.
    """
    room = store.root / ROOM
    if room.is_symlink() or not room.is_dir():
        return
    for path in sorted(room.iterdir()):
        try:
            if ASIDE.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                if path.suffix == ".gone":
                    yield path, "the rest of a deletion that was killed"
                elif time.time() - path.stat().st_mtime >= age:
                    yield path, "an upload that was never finished"
            elif not RECORD.fullmatch(path.name) or not path.is_file() or path.with_suffix("").is_dir():
                continue
            elif time.time() - path.stat().st_mtime >= age:
                yield path, "the record of an upload that is gone"
        except FileNotFoundError:
            continue


def remove_rest(path: Path) -> bool:
    """Remove what `rests` has found, unless it is being written now.

    Returns:
        Whether it was removed.

    Raises:
        StoreError: when it cannot be removed.
    """
    if path.is_symlink() or not path.is_dir() or not ASIDE.fullmatch(path.name):
        return False
    lock = lock_of(path)
    try:
        with FileLock(lock, timeout=0):
            gone = path.with_name(f".{secrets.token_hex(16)}.gone")
            os.rename(path, gone)
            lock.unlink(missing_ok=True)
        shutil.rmtree(gone)
    except Timeout:
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be removed: {error.strerror or error}.") from error
    return True
