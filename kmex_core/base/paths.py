"""Paths typed by people, and the user's cache folder."""

from __future__ import annotations

import errno
from pathlib import Path

import platformdirs

from kmex_core.base.errors import InputError

_NEVER_A_PATH = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


def user_path(text: str | Path) -> Path:
    """A path typed by a person, with `~` expanded; it need not exist.

    Raises:
        InputError: for the home of an unknown user, or an invalid path.
    """
    try:
        if "\0" in str(text):
            raise ValueError("embedded null byte")  # `exists` would report a missing file
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError as error:
        raise InputError(f"'{text}': there is no such user or home directory. Write the full path.") from error
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
        raise InputError("No home directory for the store. Set KMEX_CACHE to a folder.") from error
