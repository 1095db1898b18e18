"""The store on disk: results named by what made them, written atomically, checked when read, never pickled.

A result is one safetensors file: arrays, and a JSON description in the header together with a digest of both, and one
of the description alone for those who read nothing else. A file that does not match its digest is treated as missing,
so that it is computed again; nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import re
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout, lock_descriptor
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as _serialise

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.paths import user_cache, user_path
from kmex_core.base.progress import Progress, silent

log = logging.getLogger(__name__)

PIECE = 2**20

Arrays = dict[str, np.ndarray]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PART = re.compile(r"\..+\.[0-9a-f]{12}\.part")
HEADER = frozenset({"kmex", "digest", "description_digest"})
LOCK = re.compile(r"\.(.+)\.lock")
# seconds between two looks at a lock that another process holds
PATIENCE = 0.5
READ_ONLY = "KMEX_READ_ONLY"
IN_MEMORY = 512 * 2**20


def default_root() -> Path:
    """`KMEX_CACHE`, else `data_cache/` in the clone that this package is part of, else `store/` in the user's cache.

    Raises:
        InputError: when `KMEX_CACHE` cannot be a path; when the store would be in the user's cache, and the user has
            no home directory.
    """
    if chosen := os.environ.get("KMEX_CACHE"):
        return user_path(chosen).resolve()
    in_clone = Path(__file__).resolve().parent.parent.parent / "data_cache"
    return in_clone if in_clone.is_dir() else user_cache() / "store"


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


def digest(arrays: Mapping[str, np.ndarray], description: str = "") -> str:
    """A 32-digit hexadecimal fingerprint of named arrays (names, types, shapes, bytes) and a text."""
    seen = hashlib.blake2b(digest_size=16)
    seen.update(description.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        seen.update(f"|{name}:{array.dtype.str}:{arrays[name].shape}|".encode())
        seen.update(array.reshape(-1).view(np.uint8).data)
    return seen.hexdigest()


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


def write_file(path: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write arrays and their description to one safetensors file: all of it or nothing.

    Raises:
        StoreError: when the folder cannot be written (rights, full disk); what was there before is untouched.
    """
    text = write_json(description, sort_keys=True)
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = {"kmex": text, "digest": digest(whole, text), "description_digest": digest({}, text)}
    write_bytes(path, _serialise(whole, metadata=header))


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file so that other processes see the old or the new content, never a part.

    Args:
        path, content: where and what; folders that are missing are made.
        durable: it is on the disk when this returns, and a power cut does not take it back.

    Raises:
        StoreError: when it cannot be written.
    """
    write_stream(path, io.BytesIO(content), durable)


def write_stream(path: Path, source: BinaryIO, durable: bool = True) -> None:
    """`write_bytes` of what a stream gives, piece by piece.

    Raises:
        StoreError: when it cannot be written.
    """
    part = None
    try:
        make_folder(path.parent)
        while part is None:
            part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
            with open(part, "xb") as file:
                if not _claimed_part(file.fileno()):
                    part = None
                    continue
                shutil.copyfileobj(source, file, PIECE)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                if os.name == "posix":
                    os.replace(part, path)
            if os.name != "posix":
                os.replace(part, path)  # Windows renames no open file
    except BaseException as error:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            other = ", or set KMEX_CACHE to a folder that can be written" if path.is_relative_to(default_root()) else ""
            raise StoreError(
                f"Cannot write {path}: {error.strerror or error}. Nothing that was there has changed. Make the folder "
                f"writable or free space{other}."
            ) from error
        raise
    if durable:
        keep_folder(path.parent)


def _claimed_part(part: int) -> bool:
    """Lock the part of a file that was opened just now, so that nobody takes it for a rest; False when somebody did."""
    if os.name != "posix":
        return True
    try:
        return lock_descriptor(part, blocking=False) and os.fstat(part).st_nlink > 0
    except OSError:
        return True  # a file system without locks, on which nobody collects rests


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, so that a power cut does not take them back.

    Raises:
        OSError: when it cannot be made.
    """
    missing = [folder, *folder.parents]
    missing = missing[: next((i for i, above in enumerate(missing) if above.is_dir()), len(missing))]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        keep_folder(made.parent)


def keep_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder (after a file was renamed or removed), where the system can do that.

    Raises:
        StoreError: when the disk reports an error.
    """
    if os.name != "posix":
        return  # Windows opens no folders, and keeps their names itself
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM):
            return  # a file system that cannot, or a folder that may be written and not be read
        raise StoreError(
            f"{folder} was changed, but the disk did not confirm it ({error.strerror or error}): it may be lost in a "
            "power cut. Check the disk."
        ) from error


def move_file(path: Path, target: Path) -> None:
    """Give a file another name in its folder.

    Raises:
        OSError: when it cannot be renamed.
        StoreError: see `keep_folder`.
    """
    os.replace(path, target)
    keep_folder(target.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        OSError: when it cannot be removed.
        StoreError: see `keep_folder`.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        keep_folder(path.parent)


def parts_of(folder: Path, remove: bool = False) -> list[Path]:
    """What killed writers have left in a folder: parts of files that nobody writes any more, removed when asked."""
    left = []
    for path in regular_files(folder, PART) if os.name == "posix" else []:
        with contextlib.suppress(OSError), open(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "rb") as file:
            if lock_descriptor(file.fileno(), blocking=False):  # its writer has died
                left.append(path)
                if remove:
                    path.unlink()
    return left


def regular_files(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """The regular files in a folder with such names, sorted; no symbolic links, and none below such a link."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            )
    except OSError:
        return []


def read_file(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Read what `write_file` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        StoreError: when it is not such a file, or is damaged (its content does not match its digest).
    """
    header, arrays = _opened(path, with_arrays=True)
    description = _description(path, header)
    if header.get("digest") != digest(arrays, header["kmex"]):
        raise StoreError(f"{path} is damaged: its content does not match its digest.")
    return arrays, description


def read_description(path: Path) -> dict[str, Any]:
    """The description of a file of the store alone, without reading (or checking) its arrays.

    It is checked by a digest of its own, which files that were written before version 0.2 do not have.

    Raises:
        FileNotFoundError: when there is no such file.
        StoreError: when it is not such a file, or its description is damaged.
    """
    return _description(path, _opened(path, with_arrays=False)[0])


def _opened(path: Path, with_arrays: bool) -> tuple[dict[str, str], Arrays]:
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys() if with_arrays else ()
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged or no safetensors file ({error}).") from error


def _description(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    text = header.get("kmex", "")
    if not text:
        raise StoreError(f"{path} was not written by KMEx Explorer: its header has no description.")
    if not HEADER.issuperset(header):
        raise StoreError(f"{path} is damaged: its header has entries that no file of the store has.")
    try:
        description = read_json(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: its description is no JSON ({error}).") from error
    if not isinstance(description, dict):
        raise StoreError(f"{path} is damaged: its description is no JSON object.")
    if header.get("description_digest", digest({}, text)) != digest({}, text):
        raise StoreError(f"{path} is damaged: its description does not match its digest.")
    return description


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
                    progress(f"Waiting for another process, which makes the same {room}", 0, 0)
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
