"""The store on disk: results named by what they depend on, written atomically, checked when read, never pickled.

A result is one safetensors file: arrays, and in the header a JSON description, a digest of both, and a digest of the
description for readers of the description alone. A file that does not match its digest is treated as missing and
computed again; nothing in it is ever executed.

Results that ship with the product are read where the store lacks them. They are no part of the store: it does not list,
verify or remove them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import Arrays, make_folder, parts_of, read_description, read_file, write_file
from kmex_core.base.location import SHIPPED_RESULTS, default_root
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.tensor_file import Rows

log = logging.getLogger(__name__)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOCK = re.compile(r"\.(.+)\.lock")
# seconds between two attempts to take a lock held by another process
PATIENCE = 0.5
READ_ONLY = "KMEX_READ_ONLY"
IN_MEMORY = 512 * 2**20


def read_only() -> bool:
    """Whether `KMEX_READ_ONLY` is set (to anything but 0, false, no or off): nothing is written to any store.

    Results that the store lacks are computed and held in memory; changes to the store are refused.
    """
    return os.environ.get(READ_ONLY, "").strip().lower() not in ("", "0", "false", "no", "off")


def demand_writable(what: str) -> None:
    """Refuse a change to a read-only store. Everything that changes a store calls this first.

    Args:
        what: the beginning of the error message: "A model cannot be deleted".

    Raises:
        InputError: when the store is read-only.
    """
    if read_only():
        raise InputError(f"{what}: this server or command is read-only ({READ_ONLY} is set).")


class _Memory:
    """The most recently used results of a read-only process, up to `IN_MEMORY` bytes in all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the dictionaries; held briefly
        self._making: dict[Path, threading.RLock] = {}
        self._results: OrderedDict[Path, tuple[Arrays, dict[str, Any]]] = OrderedDict()

    def making(self, path: Path) -> threading.RLock:
        """The lock for computing one result; other results can be read and computed meanwhile."""
        with self._lock:
            return self._making.setdefault(path, threading.RLock())

    def get(self, path: Path) -> tuple[Arrays, dict[str, Any]] | None:
        with self._lock:
            if path in self._results:
                self._results.move_to_end(path)
            return self._results.get(path)

    def keep(self, path: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
        with self._lock:
            self._results[path] = dict(arrays), dict(description)
            sizes = {key: sum(array.nbytes for array in held.values()) for key, (held, _) in self._results.items()}
            while sum(sizes.values()) > IN_MEMORY:
                oldest, _ = self._results.popitem(last=False)
                del sizes[oldest]


_memory = _Memory()


def checked_name(name: str) -> str:
    """`name` if it is a valid model name; model names cannot escape the store directory.

    Raises:
        InputError: for anything but letters, digits, `.`, `_` and `-`, 1 to 64 of them, starting with the first two.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"Invalid model name '{name[:80]}': use 1 to 64 letters, digits, '.', '_' or '-', "
            "starting with a letter or a digit."
        )
    return name


class Store:
    """The folder of results.

    Args:
        root: the folder; `default_root()` when None. It is created on the first write.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def path(self, room: str, name: str) -> Path:
        """The path of the result `name` in `room`, whether it exists or not."""
        return self.root / room / f"{checked_name(name)}.safetensors"

    def names(self, room: str) -> list[str]:
        """The names of the results in `room`, sorted."""
        folder = self.root / room
        return sorted(path.stem for path in folder.glob("*.safetensors") if _NAME.fullmatch(path.stem))

    def _readable(self, room: str, name: str) -> tuple[Path, Path]:
        """Where a result is read from: the store's own file, else the one that ships with the product."""
        path = self.path(room, name)
        return path, SHIPPED_RESULTS / room / path.name

    def has(self, room: str, name: str) -> bool:
        """Whether the result exists (existence only; integrity is checked on read)."""
        paths = self._readable(room, name)
        return (read_only() and _memory.get(paths[0]) is not None) or any(path.is_file() for path in paths)

    def get(self, room: str, name: str) -> tuple[Arrays, dict[str, Any]] | None:
        """The result, or None when it is missing or damaged (which is logged)."""
        paths = self._readable(room, name)
        if read_only() and (held := _memory.get(paths[0])) is not None:
            return held
        for path in paths:
            try:
                return read_file(path, mapped=True)
            except FileNotFoundError:
                continue
            except StoreError as error:
                log.warning("%s It will be recomputed.", error)
        return None

    def description(self, room: str, name: str) -> dict[str, Any]:
        """The description of a result alone, see `read_description`.

        Raises:
            FileNotFoundError: when there is no such result.
            StoreError: when its description is damaged.
        """
        own, shipped = self._readable(room, name)
        if read_only() and (held := _memory.get(own)) is not None:
            return held[1]
        try:
            return read_description(own)
        except FileNotFoundError:
            return read_description(shipped)

    def put(
        self, room: str, name: str, arrays: Mapping[str, np.ndarray] | Rows, description: Mapping[str, Any]
    ) -> None:
        """Write a result; of `Rows`, only one part is in memory at a time.

        Raises:
            InputError: when the store is read-only.
            StoreError: when it cannot be written.
        """
        demand_writable(f"'{name}' cannot be written to the store")
        self._remove_parts(room)
        write_file(self.path(room, name), arrays, description)

    def _remove_parts(self, room: str) -> None:
        """Remove partial files left in a room by killed writers, once per process."""
        folder = self.root / room
        if folder not in _SWEPT:
            _SWEPT.add(folder)
            parts_of(folder, remove=True)

    def get_or_make(
        self,
        room: str,
        name: str,
        make: Callable[[], tuple[Mapping[str, np.ndarray] | Rows, Mapping[str, Any]]],
        progress: Progress = silent,
    ) -> tuple[Arrays, dict[str, Any]]:
        """The result, computed and written first if missing or damaged; only one process computes it at a time.

        Args:
            room, name: the result.
            make: computes its arrays and description.
            progress: called while another process computes it; may raise to stop waiting.

        A read-only process holds the result in memory instead.

        Raises:
            StoreError: when the store cannot be written.
        """
        result = self.get(room, name)
        if result is not None:
            return result
        if read_only():
            with _memory.making(self.path(room, name)):
                result = self.get(room, name)
                if result is None:
                    made, description = make()
                    arrays = made.whole() if isinstance(made, Rows) else made
                    _memory.keep(self.path(room, name), arrays, description)
                    result = dict(arrays), dict(description)
            return result
        with self.locked(room, name, progress=progress):
            result = self.get(room, name)
            if result is None:
                made, description = make()
                self.put(room, name, made, description)
                if isinstance(made, Rows):  # never in memory as a whole
                    return read_file(self.path(room, name), mapped=True)
                result = dict(made), dict(description)
        return result

    @contextlib.contextmanager
    def locked(self, room: str, name: str, busy: str = "", progress: Progress = silent) -> Iterator[None]:
        """Hold the lock for writing a result; waits while another process or thread holds it.

        The lock of a process that dies is released. Names that differ in case only share one lock, since they are the
        same file on some file systems.

        Args:
            room, name: the result.
            busy: an error message; if given, fail instead of waiting.
            progress: called twice a second while waiting; may raise to stop.

        Raises:
            InputError: with the message `busy`, if the lock is held; when the store is read-only.
            StoreError: when the store cannot be written.
        """
        demand_writable(f"'{name}' cannot be written to the store")
        path = self.root / room / f".{checked_name(name).lower()}.lock"
        lock = FileLock(path, thread_local=False)
        try:
            make_folder(path.parent)
            while True:
                try:
                    lock.acquire(timeout=PATIENCE)
                    break
                except Timeout:
                    if busy:
                        raise InputError(busy) from None
                    progress(Event(f"Waiting for another process that computes the same {room}", 0, 0))
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"Cannot write to the store at {self.root}: {error.strerror or error}. Make the folder writable, or "
                "set KMEX_CACHE to a writable folder."
            ) from error
        try:
            yield
        finally:
            lock.release()


_SWEPT: set[Path] = set()
