"""The store's files: written whole or not at all, checked when they are read."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import lock_descriptor

from kmex_core.base import tensor_file
from kmex_core.base.errors import StoreError
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.location import default_root
from kmex_core.base.tensor_file import (
    PIECE,
    Digest,
    Place,
    Rows,
    as_rows,
    pieces,
    read_array,
    read_layout,
    write_rows,
)

Arrays = tensor_file.Arrays

PART = re.compile(r"\..+\.[0-9a-f]{12}\.part")

HEADER = frozenset({"kmex", "digest", "description_digest"})


def digest(arrays: Mapping[str, np.ndarray], description: str = "") -> str:
    """A 32-digit hexadecimal fingerprint of named arrays (names, types, shapes, bytes) and a text."""
    seen = Digest(description)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        seen.add(name, Place(array.dtype, arrays[name].shape), iter([array.reshape(-1).view(np.uint8).data]))
    return seen.result()


def write_file(path: Path, arrays: Mapping[str, np.ndarray] | Rows, description: Mapping[str, Any]) -> None:
    """Write arrays and their description to one safetensors file: all of it or nothing.

    Memory besides the arrays is bounded by a piece; of `Rows`, only one part is in memory.

    Raises:
        StoreError: when the folder cannot be written (rights, full disk); an existing file is untouched.
    """
    text = write_json(description, sort_keys=True)
    texts = {"kmex": text, "description_digest": digest({}, text)}
    rows = arrays if isinstance(arrays, Rows) else as_rows(arrays)
    _write(path, lambda file: write_rows(file, rows, texts, text), durable=True)


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file so that other processes see the old or the new content, never a part.

    Args:
        path, content: missing folders are created.
        durable: return only when the content is on the disk and survives a power cut.

    Raises:
        StoreError: when it cannot be written.
    """
    write_stream(path, io.BytesIO(content), durable)


def write_stream(path: Path, source: BinaryIO, durable: bool = True) -> None:
    """`write_bytes` for a stream, read piece by piece.

    Raises:
        StoreError: when it cannot be written.
    """
    _write(path, lambda file: shutil.copyfileobj(source, file, PIECE), durable)


def _write(path: Path, fill: Callable[[BinaryIO], None], durable: bool) -> None:
    """Write a file by `fill`, which is given a part that takes the file's place when it is whole."""
    part = None
    try:
        make_folder(path.parent)
        while part is None:
            part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
            with open(part, "x+b") as file:
                if not _claimed_part(file.fileno()):
                    part = None
                    continue
                fill(file)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                if os.name == "posix":
                    os.replace(part, path)
            if os.name != "posix":
                os.replace(part, path)  # Windows cannot rename an open file
    except BaseException as error:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            other = ", or set KMEX_CACHE to a writable folder" if path.is_relative_to(default_root()) else ""
            raise StoreError(
                f"Cannot write {path}: {error.strerror or error}. Existing files are unchanged. Make the folder "
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
    """Create a folder and its missing parents durably: they survive a power cut.

    Raises:
        OSError: when it cannot be made.
    """
    missing = [folder, *folder.parents]
    missing = missing[: next((i for i, above in enumerate(missing) if above.is_dir()), len(missing))]
    folder.mkdir(parents=True, exist_ok=True)
    for created in missing:
        keep_folder(created.parent)


def keep_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk (after a rename or removal), where the system supports that.

    Raises:
        StoreError: when the disk reports an error.
    """
    if os.name != "posix":
        return  # Windows cannot open folders, and flushes their entries itself
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM):
            return  # not supported by the file system, or the folder is writable but not readable
        raise StoreError(
            f"{folder} was changed, but the disk did not confirm it ({error.strerror or error}): it may be lost in a "
            "power cut. Check the disk."
        ) from error


def move_file(path: Path, target: Path) -> None:
    """Rename a file within its folder.

    Raises:
        OSError: when it cannot be renamed.
        StoreError: see `keep_folder`.
    """
    os.replace(path, target)
    keep_folder(target.parent)


def remove_file(path: Path) -> None:
    """Remove a file if it exists.

    Raises:
        OSError: when it cannot be removed.
        StoreError: see `keep_folder`.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        keep_folder(path.parent)


def parts_of(folder: Path, remove: bool = False) -> list[Path]:
    """Partial files left in a folder by killed writers; deleted if `remove`."""
    parts = []
    for path in regular_files(folder, PART) if os.name == "posix" else []:
        with contextlib.suppress(OSError), open(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "rb") as file:
            if lock_descriptor(file.fileno(), blocking=False):  # its writer is dead
                parts.append(path)
                if remove:
                    path.unlink()
    return parts


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


def read_file(path: Path, mapped: bool = False) -> tuple[Arrays, dict[str, Any]]:
    """Read what `write_file` wrote.

    Args:
        path: the file.
        mapped: map large arrays into memory (see `tensor_file.read_array`), after their content was checked.

    Raises:
        FileNotFoundError: when there is no such file.
        StoreError: when it is not such a file, or is damaged (its content does not match its digest).
    """
    with _opened(path) as file:
        texts, places, origin = _layout(path, file)
        description = _description(path, texts)
        seen, arrays = Digest(texts["kmex"]), Arrays()
        try:
            for name in sorted(places):
                place = places[name]
                arrays[name] = array = read_array(file, place, origin, mapped)
                # a mapped array is checked by what the file has, without touching its pages
                inside = array.flags.owndata
                content = iter([array.reshape(-1).view(np.uint8).data]) if inside else pieces(file, place, origin)
                seen.add(name, place, content)
        except OSError as error:
            raise StoreError(f"{path} is damaged or cannot be read ({error}).") from error
    if texts.get("digest") != seen.result():
        raise StoreError(f"{path} is damaged: its content does not match its digest.")
    return arrays, description


def read_description(path: Path) -> dict[str, Any]:
    """The description of a stored file, without reading or checking its arrays.

    It is checked against its own digest, which files written before version 0.2 lack.

    Raises:
        FileNotFoundError: when there is no such file.
        StoreError: when it is not such a file, or its description is damaged.
    """
    with _opened(path) as file:
        return _description(path, _layout(path, file)[0])


def read_length(path: Path, array: str) -> int:
    """The length of an array of a stored file, from the file's header alone.

    Raises:
        FileNotFoundError: when there is no such file.
        StoreError: when it is not such a file, or has no such array.
    """
    with _opened(path) as file:
        place = _layout(path, file)[1].get(array)
    if place is None or not place.shape:
        raise StoreError(f"{path} is damaged or has no array '{array}'.")
    return place.shape[0]


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{path} is damaged or not a safetensors file ({error}).") from error


def _layout(path: Path, file: BinaryIO) -> tuple[dict[str, str], dict[str, Place], int]:
    try:
        return read_layout(file)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged or not a safetensors file ({error}).") from error


def _description(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    text = header.get("kmex", "")
    if not text:
        raise StoreError(f"{path} was not written by KMEx Explorer: its header has no description.")
    if not HEADER.issuperset(header):
        raise StoreError(f"{path} is damaged: its header has unknown entries.")
    try:
        description = read_json(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: its description is not valid JSON ({error}).") from error
    if not isinstance(description, dict):
        raise StoreError(f"{path} is damaged: its description is not a JSON object.")
    if header.get("description_digest", digest({}, text)) != digest({}, text):
        raise StoreError(f"{path} is damaged: its description does not match its digest.")
    return description
