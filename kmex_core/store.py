"""The store on disk: results named by what made them, written atomically, checked when read, never pickled.

A result is one safetensors file: arrays, and a JSON description in the header together with a digest of both. A file
that does not match its digest is treated as missing, so that it is computed again; nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as _serialise

from kmex_core.errors import InputError, StoreError
from kmex_core.jsontext import read_json, write_json

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_root() -> Path:
    """`KMEX_CACHE`, else `data_cache/` beside this package's source, else `data_cache/` in the working directory."""
    if chosen := os.environ.get("KMEX_CACHE"):
        return Path(chosen).expanduser().resolve()
    beside = Path(__file__).resolve().parent.parent / "data_cache"
    return beside if beside.is_dir() else Path.cwd() / "data_cache"


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
    content = _serialise(whole, metadata={"kmex": text, "digest": digest(whole, text)})
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that other processes see the old or the new content, never a part.

    Raises:
        StoreError: when it cannot be written.
    """
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}. Nothing that was there has changed. Make the folder "
            "writable or free space, or set KMEX_CACHE to a folder that can be written."
        ) from error


def read_file(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Read what `write_file` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        StoreError: when it is not such a file, or is damaged (its content does not match its digest).
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged or no safetensors file ({error}).") from error
    text = header.get("kmex", "")
    if not text:
        raise StoreError(f"{path} was not written by KMEx Explorer: its header has no description.")
    if header.get("digest") != digest(arrays, text):
        raise StoreError(f"{path} is damaged: its content does not match its digest.")
    description = read_json(text)
    if not isinstance(description, dict):
        raise StoreError(f"{path} is damaged: its description is no JSON object.")
    return arrays, description


def read_description(path: Path) -> dict[str, Any]:
    """The description of a file of the store alone, without reading (or checking) its arrays.

    Raises:
        StoreError: when the file cannot be read or has no description.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            description = read_json((file.metadata() or {})["kmex"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is damaged or was not written by KMEx Explorer ({error}).") from error
    return dict(description)


class Store:
    """The folder of results (`data_cache/` by default).

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

    def get(self, room: str, name: str) -> tuple[Arrays, dict[str, Any]] | None:
        """The result, or None when it is missing or damaged (which is logged)."""
        try:
            return read_file(self.path(room, name))
        except FileNotFoundError:
            return None
        except StoreError as error:
            log.warning("%s It will be made again.", error)
            return None

    def put(self, room: str, name: str, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
        """Write a result.

        Raises:
            StoreError: when the store cannot be written.
        """
        write_file(self.path(room, name), arrays, description)

    def made(
        self, room: str, name: str, make: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]
    ) -> tuple[Arrays, dict[str, Any]]:
        """The result, made and written first when it is missing or damaged; only one process makes it at a time.

        Raises:
            StoreError: when the store cannot be written.
        """
        found = self.get(room, name)
        if found is not None:
            return found
        with self.locked(room, name):
            found = self.get(room, name)
            if found is None:
                arrays, description = make()
                self.put(room, name, arrays, description)
                found = dict(arrays), dict(description)
        return found

    @contextlib.contextmanager
    def locked(self, room: str, name: str, busy: str = "") -> Iterator[None]:
        """Hold the right to write a result; waits while another process or thread holds it.

        Args:
            room, name: the result.
            busy: a message: with it nothing is waited for.

        Raises:
            InputError: with the message `busy`, while another holds it.
            StoreError: when the store cannot be written.
        """
        path = self.root / room / f".{checked_name(name)}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, thread_local=False)
            lock.acquire(timeout=0 if busy else -1)
        except Timeout:
            raise InputError(busy) from None
        except OSError as error:
            raise StoreError(
                f"Cannot write to the store at {self.root}: {error.strerror or error}. Make the folder writable, or "
                "set KMEX_CACHE to a folder that can be written."
            ) from error
        try:
            yield
        finally:
            lock.release()
