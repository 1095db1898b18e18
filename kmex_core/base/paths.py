"""Paths that people name, and the folder that their system has for caches."""

from __future__ import annotations

import errno
from pathlib import Path

import platformdirs

from kmex_core.base.errors import InputError

_NEVER_A_PATH = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


def user_path(text: str | Path) -> Path:
    """A path that a person typed, with `~` replaced; whether something is there is not asked.

    Raises:
        InputError: for a home of nobody's, and for what no file system takes as a path.
    """
    try:
        if "\0" in str(text):
            raise ValueError("embedded null byte")  # which `exists` takes for a name that is not there
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError as error:
        raise InputError(f"'{text}': there is no such user, or no home directory. Write the whole path.") from error
    except ValueError as error:
        raise InputError(f"{str(text)[:80]!r} cannot be a path ({error}).") from error
    except OSError as error:
        if error.errno in _NEVER_A_PATH:
            raise InputError(f"'{str(text)[:80]}…' cannot be a path: {error.strerror}.") from error
        raise
    return path


def user_cache() -> Path:
    """This program's folder in the user's cache: `~/.cache/kmex-explorer` on Linux, or in `XDG_CACHE_HOME`.

    Raises:
        InputError: when the user has no home directory.
    """
    try:
        return platformdirs.user_cache_path("kmex-explorer", appauthor=False)
    except RuntimeError as error:
        raise InputError("There is no home directory for the store. Set KMEX_CACHE to a folder.") from error
