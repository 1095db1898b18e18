"""Digests of files: cached by path, size, times and inode, and computed again when one of these changes.

A digest depends on the content alone, so a copy of a data set has the same fingerprint anywhere. The cache is one
SQLite file in the store; losing or damaging it costs time, never a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import sqlite3
import stat
import threading
import time
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.location import default_root
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.store import read_only
from kmex_core.data.listing import FileState

log = logging.getLogger(__name__)

FILE = "contents.sqlite"
VERSION = 3
DIGEST_BYTES = 16
THREADS = 4
TOGETHER = 32  # files per task
AHEAD = 16  # tasks that are started before their results are used
LOOKED_UP = 5000  # files between two reports of progress, where nothing is read
WRITTEN = 2048  # files that are cached together
TABLES = (".parquet", ".csv")
WHOLE = 64 * 2**20  # files up to this size are read at once, so that a check can see all bytes
FRESH_NS = 2_000_000_000  # a file changed so recently could change again within the same timestamp: not cached


@dataclass(frozen=True)
class Content:
    """A file's content.

    Attributes:
        digest: of its bytes.
        flaw: the defect reported by the check of the bytes, "" for none.
    """

    digest: bytes
    flaw: str


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of N files.

    Attributes:
        digests: (N,) bytes.
        flaws: the defects by position, of those that have one.
    """

    digests: np.ndarray
    flaws: dict[int, str]


_AGAIN: ContextVar[list[str] | None] = ContextVar("again", default=None)


@contextlib.contextmanager
def reading_again() -> Iterator[list[str]]:
    """A context in which `contents` reads every file, ignoring the cache.

    Yields:
        A list that receives the path of each file whose cached state matches but whose content has changed.
    """
    changed: list[str] = []
    before = _AGAIN.set(changed)
    try:
        yield changed
    finally:
        _AGAIN.reset(before)


def contents(
    files: Sequence[FileState],
    look: Callable[[bytes | Path], str] | None = None,
    level: str = "",
    progress: Progress = silent,
) -> Contents:
    """The contents of files, from the cache or read now (see `reading_again`).

    What was read is cached as it comes: a second attempt goes on where the first was cancelled.

    Args:
        files: their states, as just seen.
        look: returns the defect of a file's bytes (or, above `WHOLE` bytes, of the file at a path), "" for none.
        level: the name of `look`; results of other checks are not used.
        progress: called as files are read.

    Raises:
        OSError: when a file cannot be read.
    """
    changed, level = _AGAIN.get(), level if look else ""
    digests = bytearray(DIGEST_BYTES * len(files))
    flaws: dict[int, str] = {}

    def keep(index: int, content: Content) -> None:
        digests[DIGEST_BYTES * index : DIGEST_BYTES * (index + 1)] = content.digest
        if content.flaw:
            flaws[index] = content.flaw

    with _memory() as memory:
        missing = array("q")
        for index, file in enumerate(files):
            if index % LOOKED_UP == 0 and len(files) > LOOKED_UP:
                progress(Event("Comparing files", index, len(files)))
            known = memory.recall(file, level) if changed is None else None
            # a flaw may be gone without a change of the file: a package was installed, a format can be read now
            if known is None or (known.flaw and look):
                missing.append(index)
            else:
                keep(index, known)
        now = time.time_ns()
        fresh: list[tuple[FileState, Content]] = []
        for index, content in _read(files, missing, look, progress):
            keep(index, content)
            file = files[index]
            if changed is not None:
                before = memory.recall(file, level)
                if before is not None and before.digest != content.digest:
                    changed.append(file.place)
            if max(file.mtime, file.ctime) < now - FRESH_NS:
                fresh.append((file, content))
            if len(fresh) == WRITTEN:
                memory.remember(fresh, level)
                fresh = []
        memory.remember(fresh, level)
    return Contents(as_array(digests), flaws)


def _read(
    files: Sequence[FileState], which: Sequence[int], look: Callable[[bytes | Path], str] | None, progress: Progress
) -> Iterator[tuple[int, Content]]:
    def read_part(start: int) -> list[tuple[int, Content]]:
        return [(index, _content(files[index], look)) for index in which[start : start + TOGETHER]]

    starts = iter(range(0, len(which), TOGETHER))
    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque(pool.submit(read_part, start) for start in itertools.islice(starts, AHEAD))
        try:
            while waiting:
                read = waiting.popleft().result()
                if (start := next(starts, None)) is not None:
                    waiting.append(pool.submit(read_part, start))
                yield from read
                done += len(read)
                progress(Event("Reading files", done, len(which)))
        finally:
            for part in waiting:
                part.cancel()


def _content(file: FileState, look: Callable[[bytes | Path], str] | None) -> Content:
    if file.size > WHOLE:
        with open(file.place, "rb") as opened:
            digest = hashlib.file_digest(opened, _hash).digest()
        return Content(digest, look(file.path) if look else "")
    with open(file.place, "rb") as opened:  # a `Path` would keep its parts
        held = opened.read()
    return Content(_hash(held).digest(), look(held) if look else "")


def _hash(held: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(held, digest_size=DIGEST_BYTES)


def digest_of(parts: Iterable[bytes | memoryview]) -> bytes:
    """One digest of many parts, in order."""
    seen = _hash()
    for part in parts:
        seen.update(len(part).to_bytes(8, "little"))
        seen.update(part)
    return seen.digest()


def as_array(digests: bytes | bytearray) -> np.ndarray:
    """Digests, one after the other, as (N,) of numpy's bytes, which take little room and compare quickly."""
    return np.frombuffer(digests, dtype=f"S{DIGEST_BYTES}")


# ---------------------------------------------------------------------------------------------------------------------
# the files behind a data set, without reading them


@dataclass(frozen=True)
class Watch:
    """A file or folder that a data set depends on.

    Attributes:
        path: a file or a folder.
        deep: for a folder, whether everything below it belongs to the data set, or only its direct entries.
    """

    path: Path
    deep: bool = True


def signature(watched: Iterable[Watch]) -> str:
    """A name for the state of files and folders that changes whenever a file does; reads directories, no files."""
    seen = _hash()
    for place in watched:
        for entry in _entries(place.path, place.deep):
            seen.update(entry)
    return seen.hexdigest()


def _entries(path: Path, deep: bool) -> Iterator[bytes]:
    try:
        status = path.stat()
    except OSError:
        yield b"missing|" + os.fsencode(path)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield _line(os.fsencode(path), status)
        return
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            yield b"closed|" + os.fsencode(folder)
            continue
        for entry in listed:
            try:
                if deep and entry.is_dir(follow_symlinks=folder == path):
                    yield b"folder|" + os.fsencode(entry.path)
                    waiting.append(Path(entry.path))
                elif deep or entry.name.lower().endswith(TABLES):
                    yield _line(os.fsencode(entry.path), entry.stat())
                elif entry.is_dir():
                    yield b"folder|" + os.fsencode(entry.path)
            except OSError:
                yield b"lost|" + os.fsencode(entry.path)


def _line(name: bytes, status: os.stat_result) -> bytes:
    return b"%s|%d|%d|%d|%d\n" % (name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


# ---------------------------------------------------------------------------------------------------------------------
# the cache
_COLUMNS = "path, size, mtime, ctime, inode, digest, flaw, level, mark"


def _mark(*values: object) -> int:
    """A checksum of a row, which SQLite lacks: it detects a flipped bit in the file."""
    return zlib.crc32(repr(values).encode(errors="replace"))


@contextlib.contextmanager
def _memory() -> Iterator[_Memory]:
    memory = _Memory(default_root() / FILE)
    try:
        yield memory
    finally:
        memory.close()


_LOCK = threading.Lock()


class _Memory:
    """The SQLite file; if it cannot be read or written, nothing is cached."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None
        for _ in range(2):
            try:
                if read_only() and not path.is_file():
                    return
                path.parent.mkdir(parents=True, exist_ok=True)
                uri = path.absolute().as_uri() + ("?mode=ro" if read_only() else "")
                self._open = sqlite3.connect(uri, timeout=10, uri=True)
                self._open.execute("PRAGMA trusted_schema = OFF")
                if self._open.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                    self._make()
                self._open.execute(f"SELECT {_COLUMNS} FROM files LIMIT 1")
                self._open.execute("SELECT key, value, mark FROM facts LIMIT 1")
                return
            except sqlite3.OperationalError as error:
                if "no such" in str(error):
                    self._rebuild(error)
                    continue
                log.info("%s cannot be used (%s): files are read again each time.", path, error)
                self.close()
                return
            except sqlite3.DatabaseError as error:
                self._rebuild(error)
            except OSError as error:
                log.info("%s cannot be used (%s): files are read again each time.", path, error)
                return

    def _make(self) -> None:
        assert self._open is not None
        with self._open:
            for table in ("files", "facts"):
                self._open.execute(f"DROP TABLE IF EXISTS {table}")
            self._open.execute(
                "CREATE TABLE files (path BLOB, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER, "
                "digest BLOB, flaw TEXT, level TEXT, mark INTEGER, PRIMARY KEY (path, level)) WITHOUT ROWID"
            )
            self._open.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT, mark INTEGER) WITHOUT ROWID")
            self._open.execute(f"PRAGMA user_version = {VERSION}")

    def _rebuild(self, error: Exception) -> None:
        self.close()
        if read_only():
            return
        log.warning("%s is damaged (%s) and is recreated; all files are read again once.", self._path, error)
        for name in (self._path, self._path.with_name(f"{FILE}-journal")):
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)

    def close(self) -> None:
        if self._open is not None:
            with contextlib.suppress(sqlite3.Error):
                self._open.close()
            self._open = None

    def recall(self, file: FileState, level: str) -> Content | None:
        """The cached content of a file in this state; with `level` "", only the digest counts."""
        if self._open is None:
            return None
        path = os.fsencode(file.place)
        try:
            rows = self._open.execute(
                f"SELECT {_COLUMNS} FROM files WHERE path = ? AND (level = ? OR ? = '')", (path, level, level)
            )
            for row in rows:
                if row[:5] == (path, *file.stamp) and row[-1] == _mark(*row[:-1]):
                    return Content(row[5], row[6])
        except sqlite3.Error as error:
            self._rebuild(error)
        return None

    def remember(self, known: Sequence[tuple[FileState, Content]], level: str) -> None:
        rows = [(os.fsencode(file.place), *file.stamp, content.digest, content.flaw, level) for file, content in known]
        marked = [(*row, _mark(*row)) for row in rows]
        # results of other checks for content that the file no longer has
        self._write("DELETE FROM files WHERE path = ? AND digest != ?", [(row[0], row[5]) for row in rows])
        self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", marked)

    def fact(self, key: str) -> str | None:
        if self._open is None:
            return None
        try:
            row = self._open.execute("SELECT value, mark FROM facts WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._rebuild(error)
            return None
        return row[0] if row and row[1] == _mark(key, row[0]) else None

    def put(self, key: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", [(key, value, _mark(key, value))])

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if self._open is None or not rows or read_only():
            return
        try:
            with _LOCK, self._open:
                self._open.executemany(statement, rows)
        except sqlite3.Error as error:
            log.info("%s cannot be written (%s): files are read again next time.", self._path, error)


def known_fact(key: str, find: Callable[[], object]) -> object:
    """A JSON value determined by the contents named in `key`: cached, or computed now."""
    with _memory() as memory:
        text = memory.fact(key)
        if text is not None:
            with contextlib.suppress(ValueError):
                return read_json(text)
        value = find()
        memory.put(key, write_json(value))
    return value
