"""The cache of UMAP's compiled code: a folder private to this user, since anyone who can write to it can run code.

numba keeps machine code and pickles, and reads them without a check. The folder is never in the store, which may be
shared or copied; nobody else may write to it; and files that do not match the digests of the last complete use are
deleted, and numba compiles them again.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.paths import user_cache

VARIABLE = "NUMBA_CACHE_DIR"
DIGESTS, LOCK = "digests.json", ".lock"
_kept: tempfile.TemporaryDirectory[str] | None = None


@contextmanager
def cache() -> Iterator[None]:
    """Use numba's cache while compiled code is imported and run; check it before and record digests after.

    A folder named by `NUMBA_CACHE_DIR` is the user's own choice and is used unchecked.
    """
    if os.environ.get(VARIABLE):
        yield
        return
    folder = private_folder()
    with FileLock(folder / LOCK):
        _check(folder)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
        with FileLock(folder / LOCK):
            _seal(folder)
    finally:
        del os.environ[VARIABLE]


def private_folder() -> Path:
    """A folder in the user's cache that only this user can write to.

    A temporary folder of this process where there is no home directory, or the cache is not writable or not private.
    """
    global _kept
    with suppress(OSError, InputError):
        folder = user_cache() / "numba"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # writable
        if _is_private(folder):
            return folder
    if _kept is None:
        _kept = tempfile.TemporaryDirectory(prefix="kmex-numba-")
    return Path(_kept.name)


def _is_private(folder: Path) -> bool:
    """Whether nobody but this user (and root) can put files into a folder, or another folder in its place."""
    if not hasattr(os, "geteuid"):
        return True  # Windows: a profile's folders are its user's
    trusted = {0, os.geteuid()}
    for place in (folder, *folder.parents):
        status = place.lstat()
        if stat.S_ISLNK(status.st_mode):
            return _is_private(place.resolve() / folder.relative_to(place))
        others_write = status.st_mode & 0o022
        if place == folder and (status.st_uid != os.geteuid() or others_write):
            return False
        if status.st_uid not in trusted or (others_write and not status.st_mode & stat.S_ISVTX):
            return False
    return True


def _files(folder: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path.name not in (DIGESTS, LOCK) and not path.is_dir()
    }


def _digest(path: Path) -> str:
    """A file's digest, "" for one that is gone: numba renames files while it writes."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:
        return ""


def _check(folder: Path) -> None:
    """Delete every file that does not match its recorded digest."""
    try:
        known = read_json((folder / DIGESTS).read_text())
    except (OSError, ValueError, RecursionError):
        known = {}
    if not isinstance(known, dict):
        known = {}
    for name, path in _files(folder).items():
        if path.is_symlink() or not path.is_file() or known.get(name) != _digest(path):
            path.unlink(missing_ok=True)


def _seal(folder: Path) -> None:
    digests = {name: digest for name, path in _files(folder).items() if (digest := _digest(path))}
    part = folder / f"{DIGESTS}.{os.getpid()}"
    part.write_text(write_json(digests))
    os.replace(part, folder / DIGESTS)
