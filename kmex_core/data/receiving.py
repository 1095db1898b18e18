"""How an upload arrives: announced as a list of files, sent in parts as one stream, finished by one rename.

The stream is the files' contents one after the other, so a part may hold many small files or a piece of a large one.
Everything that is known of an unfinished upload is on the disk: the list, and how far the stream has come. A lost
connection or a restarted server goes on from there, and memory does not depend on the size or number of files.

What arrives comes from strangers. Names, numbers and sizes are checked before anything is written; see `checked_path`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from filelock import FileLock, Timeout

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import make_folder
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.store import Store, demand_writable
from kmex_core.data import uploads
from kmex_core.data.archives import DEEPEST, MOST_PART, MOST_PATH, SPARE
from kmex_core.data.files import is_system

MOST_BYTES = 2 << 30  # of an upload
MOST_FILES = 100_000
MOST_WAITING = 20  # unfinished uploads at a time
PART_BYTES = 8 << 20  # the most that one part may have
DAY = 86_400.0  # after which an unfinished upload makes room for others
FILES, PLAN, STATE, CANCELLED = "files", "plan.jsonl", "state.json", "cancelled"
_ID = re.compile(r"[0-9a-f]{32}")
_DRIVE = re.compile(r"[A-Za-z]:")


class TooLarge(InputError):
    """More than the limits allow, or than the disk has room for."""


class UnknownUpload(InputError):
    """An upload that was never begun, was cancelled, or was cleared away."""


class OutOfStep(InputError):
    """A part that does not follow on what has arrived; `received` says how much has."""


def checked_path(path: str) -> str:
    """A file's path below its upload, if it can be written safely.

    Raises:
        InputError: for a path that leads elsewhere, is hidden, is not text, or is too long or too deep.
    """
    shown = repr(path[:80])
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or _DRIVE.match(path) or ".." in parts or "." in parts or "" in parts:
        raise InputError(f"{shown} is not a path inside the folder that is uploaded.")
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in path):
        raise InputError(f"{shown} has control characters in its name. Rename it, and upload again.")
    if any(is_system(part) for part in parts):
        raise InputError(f"{shown} is hidden or belongs to the operating system. Leave it out, and upload again.")
    lengths = [len(part.encode()) for part in parts]
    if sum(lengths) > MOST_PATH or len(parts) > DEEPEST or max(lengths) > MOST_PART:
        raise InputError(
            f"{shown} is too long or too deep: names may have {MOST_PART} bytes, paths {MOST_PATH:,} and {DEEPEST} "
            "folders. Rename it, and upload again."
        )
    return path


def _checked_plan(files: Iterable[Any]) -> list[tuple[str, int]]:
    """Paths and sizes, if all of them can be stored beside each other on any disk."""
    plan: list[tuple[str, int]] = []
    keys: dict[str, str] = {}
    above: dict[str, str] = {}
    total = 0
    for file in files:
        match file:
            case [str(path), int(size)] if not isinstance(size, bool) and size >= 0:
                pass
            case _:
                raise InputError("An upload is a list of [path, size in bytes].")
        if len(plan) >= MOST_FILES:
            raise TooLarge(f"An upload may have {MOST_FILES:,} files. Upload more than that as one archive.")
        total += size
        if total > MOST_BYTES:
            raise TooLarge(
                f"An upload may have {MOST_BYTES >> 30} GB. Copy more than that to the server's machine, and name its "
                "folder there."
            )
        key = unicodedata.normalize("NFC", checked_path(path)).casefold()
        if key in keys:
            raise InputError(
                f"{path[:80]!r} and {keys[key][:80]!r} are one file on some disks. Rename one of them, and upload "
                "again."
            )
        keys[key] = path
        while (key := key.rpartition("/")[0]) and key not in above:
            above[key] = path
        plan.append((path, size))
    if not plan:
        raise InputError("There are no files to upload.")
    if clash := next((key for key in above if key in keys), ""):
        raise InputError(f"{keys[clash][:80]!r} is a file, and a folder of {above[clash][:80]!r}.")
    return plan


def begin(store: Store, name: str, files: Sequence[Any]) -> str:
    """Announce an upload.

    Args:
        store: the store.
        name: of the folder or file that is uploaded; the upload's own name is made of it.
        files: `[path, size in bytes]` of each file, in the order in which they will be sent.

    Returns:
        Its id, 32 hexadecimal digits that nobody can guess.

    Raises:
        InputError: for anything that may not be uploaded, see `checked_path`; when the store is read-only.
        TooLarge: for more bytes or files than may be uploaded, or than the disk has room for.
        StoreError: when the store cannot be written.
    """
    demand_writable("Nothing can be uploaded")
    plan = _checked_plan(files)
    room = store.root / uploads.ROOM
    total = sum(size for _, size in plan)
    for path, _ in uploads.rests(store, DAY):
        uploads.remove_rest(path)
    upload = secrets.token_hex(16)
    folder = room / f".{upload}.part"
    try:
        make_folder(room)
        _check_disk(room, total)
        if sum(1 for path in room.iterdir() if path.suffix == ".part" and path.is_dir()) >= MOST_WAITING:
            raise TooLarge(
                f"{MOST_WAITING} uploads are unfinished on this server. Try again when some of them are done."
            )
        (folder / FILES).mkdir(parents=True)
        with (folder / PLAN).open("wb") as out:
            out.writelines(write_json(file, compact=True).encode() + b"\n" for file in plan)
        state = {"name": uploads.plain_name(name), "files": len(plan), "bytes": total}
        _save(folder, {**state, "offset": 0, "position": 0, "inside": 0})
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(f"Nothing can be uploaded to {room}: {error.strerror or error}.") from error
    return upload


def received(store: Store, upload: str) -> int:
    """How many bytes of an unfinished upload have arrived.

    Raises:
        UnknownUpload: when there is no such unfinished upload.
    """
    return int(_state(_folder(store, upload))["offset"])


class Part:
    """Writes what arrives at one place of the stream. Nobody else can write to the upload until it is closed.

    Args:
        store: the store.
        upload: an id from `begin`.
        offset: where the part begins in the stream.

    Raises:
        UnknownUpload: when there is no such unfinished upload.
        OutOfStep: when another place is next, or another part is being written.
        InputError: when the store is read-only.
        StoreError: when the store cannot be written.
    """

    def __init__(self, store: Store, upload: str, offset: int) -> None:
        demand_writable("Nothing can be uploaded")
        self._folder = _folder(store, upload)
        self._lock = FileLock(uploads.lock_of(self._folder), thread_local=False)
        self._plan: IO[bytes] | None = None
        self._file: IO[bytes] | None = None
        self._size = 0  # of the file that is open
        self._next = 0  # where its successor is in the plan
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutOfStep("Another part of this upload is being written. Ask how much has arrived.") from None
        except OSError as error:
            raise StoreError(f"The server cannot write the upload: {error.strerror or error}.") from error
        try:
            self._state = _state(self._folder)
            if offset != self._state["offset"]:
                raise OutOfStep(f"This part begins at {offset:,}; {self._state['offset']:,} bytes have arrived.")
            self._plan = (self._folder / PLAN).open("rb")
        except BaseException:
            self._lock.release()
            raise

    @property
    def offset(self) -> int:
        """How many bytes of the stream have arrived."""
        return int(self._state["offset"])

    def write(self, content: bytes | bytearray) -> None:
        """Write what follows.

        Raises:
            InputError: for more than was announced.
            TooLarge: when the disk is full.
            StoreError: when the store cannot be written. What was written counts.
        """
        rest = memoryview(content)
        state = self._state
        if self.offset + len(rest) > state["bytes"]:
            raise InputError(f"More than the {state['bytes']:,} bytes arrived that were announced.")
        try:
            _check_disk(self._folder, len(rest))
            while rest:
                file = self._file or self._open()
                written = file.write(rest[: self._size - state["inside"]])  # unbuffered, so it is on its way
                state["inside"] += written
                state["offset"] += written
                rest = rest[written:]
                if state["inside"] == self._size:
                    self._end_file()
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"The server cannot write the upload: {error.strerror or error}.") from error

    def end(self) -> dict[str, Any]:
        """Create the empty files behind the last byte, once all bytes are there; what is known of the upload.

        Raises:
            OutOfStep: when bytes are missing.
        """
        if self.offset != self._state["bytes"]:
            raise OutOfStep(f"{self.offset:,} of {self._state['bytes']:,} bytes have arrived.")
        while self._has_next():
            self._open()
            self._end_file()
        return self._state

    def close(self) -> None:
        """Remember how far the stream has come, and let others write.

        Raises:
            StoreError: when the store cannot be written.
        """
        try:
            if self._file is not None:
                self._file.close()
            if self._plan is not None:
                self._plan.close()
            _save(self._folder, self._state)
        except OSError as error:
            raise StoreError(f"The server cannot write the upload: {error.strerror or error}.") from error
        finally:
            self._lock.release()
        if (self._folder / CANCELLED).exists():
            uploads.remove_rest(self._folder)

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _has_next(self) -> bool:
        assert self._plan is not None
        self._plan.seek(self._state["position"])
        return bool(self._plan.read(1))

    def _open(self) -> IO[bytes]:
        """Open the file at which the stream is; empty ones before it are created."""
        assert self._plan is not None
        while True:
            self._plan.seek(self._state["position"])
            path, self._size = read_json(self._plan.readline())
            self._next = self._plan.tell()
            target = self._folder / FILES / path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = target.open("r+b" if target.exists() else "x+b", buffering=0)
            self._file.truncate(self._state["inside"])  # a killed writer may have written more than it remembered
            self._file.seek(self._state["inside"])
            if self._size or self.offset == self._state["bytes"]:
                return self._file
            self._end_file()

    def _end_file(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None
        self._state["position"], self._state["inside"] = self._next, 0


def finish(store: Store, upload: str) -> str:
    """Let an upload appear in the store once all of it has arrived; asked again, the answer is the same.

    Returns:
        Its name.

    Raises:
        UnknownUpload: when there is no such upload.
        OutOfStep: when bytes are missing, or are being written.
        StoreError: when the store cannot be written.
    """
    demand_writable("Nothing can be uploaded")
    if _ID.fullmatch(upload) and (name := uploads.received_as(store, upload)):
        return name
    try:
        folder = _folder(store, upload)
        with Part(store, upload, received(store, upload)) as part:
            state = part.end()
            record = {"upload": upload, "files": state["files"], "bytes": state["bytes"]}
            name = uploads.put(store, folder / FILES, state["name"], record)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"The server cannot finish the upload: {error.strerror or error}.") from error
    uploads.remove_rest(folder)
    return name


def cancel(store: Store, upload: str) -> None:
    """Remove an unfinished upload; while a part of it is being written, after that.

    Raises:
        UnknownUpload: when there is no such unfinished upload.
        InputError: when the store is read-only.
        StoreError: when it cannot be removed.
    """
    demand_writable("Nothing can be uploaded")
    folder = _folder(store, upload)
    if uploads.remove_rest(folder):
        return
    try:
        (folder / CANCELLED).touch()
    except OSError as error:
        if not folder.is_dir():
            return  # finished or removed meanwhile
        raise StoreError(f"The upload cannot be removed: {error.strerror or error}.") from error


def _folder(store: Store, upload: str) -> Path:
    folder = store.root / uploads.ROOM / f".{upload}.part"
    if not _ID.fullmatch(upload) or not folder.is_dir() or (folder / CANCELLED).exists():
        raise _unknown()
    return folder


def _unknown() -> UnknownUpload:
    return UnknownUpload("This upload is no longer known to the server. Begin it again.")


def _state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = read_json((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _unknown() from None
    return state


def _save(folder: Path, state: dict[str, Any]) -> None:
    part = folder / f"{STATE}.part"
    part.write_text(write_json(state), encoding="utf-8")
    os.replace(part, folder / STATE)


def _check_disk(folder: Path, more: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < more + SPARE:
        raise TooLarge(
            f"There is not enough room on the server's disk: {more / 2**20:,.0f} MB are to be written, and "
            f"{SPARE >> 30} GB must stay free of {free / 2**30:,.1f} GB."
        )
