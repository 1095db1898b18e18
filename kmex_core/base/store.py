"""The store on disk: results named by what made them, written atomically, checked when read, never pickled.

A result is one safetensors file: arrays, and a JSON description in the header together with a digest of both, and one
of the description alone for those who read nothing else. A file that does not match its digest is treated as missing,
so that it is computed again; nothing in it is ever executed.
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
from kmex_core.base.location import default_root
from kmex_core.base.progress import Event, Progress, silent

log = logging.getLogger(__name__)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOCK = re.compile(r"\.(.+)\.lock")
# seconds between two looks at a lock that another process holds
PATIENCE = 0.5
READ_ONLY = "KMEX_READ_ONLY"
IN_MEMORY = 512 * 2**20


def read_only() -> bool:
    """Whether `KMEX_READ_ONLY` is set (to anything but 0, false, no or off): then nothing is written to any store.

    What a page needs and the store lacks is computed and held in memory; what would change the store is refused.
    """
    return os.environ.get(READ_ONLY, "").strip().lower() not in ("", "0", "false", "no", "off")


def demand_writable(what: str) -> None:
    """Refuse what a read-only store cannot have. Whatever changes a store asks this before anything else.

    Args:
        what: what was asked for, as a sentence begins: "A model cannot be deleted".

    Raises:
        InputError: when the store is read-only.
    """
    if read_only():
        raise InputError(f"{what}: this server or command is read-only ({READ_ONLY} is set).")


class _Memory:
    """Results that a read-only process has made, those used last, up to `IN_MEMORY` bytes in all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the dictionaries, for a moment
        self._making: dict[Path, threading.RLock] = {}
        self._results: OrderedDict[Path, tuple[Arrays, dict[str, Any]]] = OrderedDict()

    def making(self, path: Path) -> threading.RLock:
        """The right to make one result; meanwhile other results are read and made."""
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
    """`name` if it can be the name of a model, so that no path outside the store can be named.

    Raises:
        InputError: for anything but letters, digits, `.`, `_` and `-`, 1 to 64 of them, starting with the first two.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"'{name[:80]}' cannot be a model's name: use 1 to 64 letters, digits, '.', '_' or '-', "
            "starting with a letter or a digit."
        )
    return name


class Store:
    """The folder of results.

    Args:
        root: the folder; `default_root()` when None. It is made when something is first written.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def path(self, room: str, name: str) -> Path:
        """Where the result `name` of `room` lies (whether it exists or not)."""
        return self.root / room / f"{checked_name(name)}.safetensors"

    def names(self, room: str) -> list[str]:
        """The names of the results in `room`, sorted."""
        folder = self.root / room
        return sorted(path.stem for path in folder.glob("*.safetensors") if _NAME.fullmatch(path.stem))

    def has(self, room: str, name: str) -> bool:
        """Whether there is such a result (existence only; integrity is checked when it is read)."""
        path = self.path(room, name)
        return (read_only() and _memory.get(path) is not None) or path.is_file()

    def get(self, room: str, name: str) -> tuple[Arrays, dict[str, Any]] | None:
        """The result, or None when it is missing or damaged (which is logged)."""
        path = self.path(room, name)
        if read_only() and (held := _memory.get(path)) is not None:
            return held
        try:
            return read_file(path)
        except FileNotFoundError:
            return None
        except StoreError as error:
            log.warning("%s It will be made again.", error)
            return None

    def description(self, room: str, name: str) -> dict[str, Any]:
        """The description of a result alone, see `read_description`.

        Raises:
            FileNotFoundError: when there is no such result.
            StoreError: when its description is damaged.
        """
        path = self.path(room, name)
        if read_only() and (held := _memory.get(path)) is not None:
            return held[1]
        return read_description(path)

    def put(self, room: str, name: str, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
        """Write a result.

        Raises:
            InputError: when the store is read-only.
            StoreError: when it cannot be written.
        """
        demand_writable(f"'{name}' cannot be written to the store")
        self._remove_parts(room)
        write_file(self.path(room, name), arrays, description)

    def _remove_parts(self, room: str) -> None:
        """Remove what killed writers have left in a room, once in a process."""
        folder = self.root / room
        if folder not in _SWEPT:
            _SWEPT.add(folder)
            parts_of(folder, remove=True)

    def made(
        self,
        room: str,
        name: str,
        make: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]],
        progress: Progress = silent,
    ) -> tuple[Arrays, dict[str, Any]]:
        """The result, made and written first when it is missing or damaged; only one process makes it at a time.

        Args:
            room, name: the result.
            make: makes its arrays and description.
            progress: called while another process makes it; it may raise to stop waiting.

        A read-only process holds what it makes in memory instead.

        Raises:
            StoreError: when the store cannot be written.
        """
        found = self.get(room, name)
        if found is not None:
            return found
        if read_only():
            with _memory.making(self.path(room, name)):
                found = self.get(room, name)
                if found is None:
                    arrays, description = make()
                    _memory.keep(self.path(room, name), arrays, description)
                    found = dict(arrays), dict(description)
            return found
        with self.locked(room, name, progress=progress):
            found = self.get(room, name)
            if found is None:
                arrays, description = make()
                self.put(room, name, arrays, description)
                found = dict(arrays), dict(description)
        return found

    @contextlib.contextmanager
    def locked(self, room: str, name: str, busy: str = "", progress: Progress = silent) -> Iterator[None]:
        """Hold the right to write a result; waits while another process or thread holds it.

        The system ends the hold of a process that dies. Names that differ in capitals only share one lock, since on
        some file systems they are one file.

        Args:
            room, name: the result.
            busy: a message: with it nothing is waited for.
            progress: called twice a second while another holds it; it may raise to stop waiting.

        Raises:
            InputError: with the message `busy`, while another holds it; when the store is read-only.
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
                    progress(Event(f"Waiting for another process, which makes the same {room}", 0, 0))
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"Cannot write to the store at {self.root}: {error.strerror or error}. Make the folder writable, or "
                "set KMEX_CACHE to a folder that can be written."
            ) from error
        try:
            yield
        finally:
            lock.release()


_SWEPT: set[Path] = set()
