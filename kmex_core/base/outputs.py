"""Files that a command writes where it is told to: never in place of something else."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from kmex_core.base.errors import InputError


def check_file(path: Path, overwrite: bool = False) -> None:
    """Refuse a path that a new file would take the place of something at.

    Raises:
        InputError: when there is a file (unless `overwrite`), or a folder, a link, a device or the like.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing there; whether it can be written shows when it is
    if stat.S_ISREG(mode):
        if not overwrite:
            raise InputError(f"There is a file {path} already. Choose another --out, or add --overwrite to replace it.")
        return
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"))
    kind = next((words for is_kind, words in kinds if is_kind(mode)), "a device")
    raise InputError(f"{path} is {kind}, which is not replaced. Choose another --out.")


def check_folder(path: Path, ours: re.Pattern[str], overwrite: bool = False) -> None:
    """Refuse a folder in which new files would take the place of others, or stand among older ones of their kind.

    Args:
        path: a folder, or nothing yet.
        ours: what the names of the new files match, all of it.
        overwrite: delete such files, if they are plain files.

    Raises:
        InputError: when the path is no folder, or there are such files (unless `overwrite`) or other things of such
            names.
    """
    if path.is_symlink() or path.exists():
        if not path.is_dir():
            raise InputError(f"{path} is not a folder. Choose another --out.")
        try:
            there = sorted(entry for entry in path.iterdir() if ours.fullmatch(entry.name))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
        if there and not overwrite:
            raise InputError(
                f"{path} holds files of an explanation already ({there[0].name}). Choose another --out, or add "
                "--overwrite to replace them."
            )
        for entry in there:
            check_file(entry, overwrite)
        for entry in there:
            entry.unlink()
