"""--out never takes the place of something else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kmex_core.base import outputs
from kmex_core.base.errors import InputError

OURS = re.compile(r"map-\d+\.png")


def test_a_new_file_may_be_written(tmp_path: Path) -> None:
    outputs.check_file(tmp_path / "new")
    outputs.check_file(tmp_path / "no folder" / "new")


def test_files_are_replaced_only_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="--overwrite"):
        outputs.check_file(tmp_path / "file")
    outputs.check_file(tmp_path / "file", overwrite=True)


def test_nothing_but_a_file_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path / "link", "symbolic link"),
        (tmp_path / "dangling", "symbolic link"),
        (tmp_path, "folder"),
        (tmp_path / "pipe", "pipe"),
        (Path("/dev/null"), "device"),
    ):
        for overwrite in (False, True):
            with pytest.raises(InputError, match=kind):
                outputs.check_file(path, overwrite)


def test_a_folder_keeps_what_is_not_ours(tmp_path: Path) -> None:
    outputs.check_folder(tmp_path / "new", OURS)
    (tmp_path / "notes.txt").write_text("kept")
    outputs.check_folder(tmp_path, OURS)
    (tmp_path / "map-1.png").write_text("old")
    with pytest.raises(InputError, match=r"already contains .* \(map-1.png\)"):
        outputs.check_folder(tmp_path, OURS)
    outputs.check_folder(tmp_path, OURS, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "map-2.png").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="symbolic link"):
        outputs.check_folder(tmp_path, OURS, overwrite=True)
    with pytest.raises(InputError, match="not a folder"):
        outputs.check_folder(tmp_path / "notes.txt", OURS)
    assert (tmp_path / "notes.txt").read_text() == "kept"
