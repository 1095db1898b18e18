"""Output files of commands: existing files are never replaced by accident."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from kmex_core.base.errors import InputError


def check_file(path: Path, overwrite: bool = False, option: str = "--out") -> None:
    """Refuse an output path, which the command's `option` names, that already exists.

    Raises:
        InputError: when there is a file (unless `overwrite`), or a folder, a link, a device or the like.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing exists; an unwritable path fails on writing
    if stat.S_ISREG(mode):
        if not overwrite:
            raise InputError(
                f"The file {path} already exists. Choose another {option}, or add --overwrite to replace it."
            )
        return
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"))
    kind = next((words for is_kind, words in kinds if is_kind(mode)), "a device")
    raise InputError(f"{path} is {kind} and will not be replaced. Choose another {option}.")


def check_folder(path: Path, ours: re.Pattern[str], overwrite: bool = False) -> None:
    """Refuse an output folder that already contains files of the same kind.

    Args:
        path: a folder, which need not exist yet.
        ours: matches the full names of the new files.
        overwrite: delete existing files of that kind, if they are regular files.

    Raises:
        InputError: when the path is not a folder, or contains such files (unless `overwrite`) or anything else with
            such a name.
    """
    if path.is_symlink() or path.exists():
        if not path.is_dir():
            raise InputError(f"{path} is not a folder. Choose another --out.")
        try:
            existing = sorted(entry for entry in path.iterdir() if ours.fullmatch(entry.name))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
        if existing and not overwrite:
            raise InputError(
                f"{path} already contains files of an explanation ({existing[0].name}). Choose another --out, or add "
                "--overwrite to replace them."
            )
        for entry in existing:
            check_file(entry, overwrite)
        for entry in existing:
            entry.unlink()
