"""Compiled code: in a folder that only its user can write to, and never run when it is not as it was sealed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmex_core.base import compiled


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "_kept", None)
    return tmp_path


def use(name: str = "a.nbi", content: bytes = b"compiled") -> bool:
    """Use the cache as numba does; whether the file was there already, as it was written."""
    with compiled.cache():
        path = Path(os.environ[compiled.VARIABLE]) / "umap" / name
        if path.is_file():
            return path.read_bytes() == content
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return False


def test_compiled_code_is_kept_for_its_user_alone(home: Path) -> None:
    assert not use()
    assert use()
    folder = home / ".cache" / "kmex-explorer" / "numba"
    assert compiled.private_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert compiled.VARIABLE not in os.environ


@pytest.mark.parametrize("damage", [b"", b"other", b"compiled and more"])
def test_what_is_damaged_is_compiled_again(home: Path, damage: bytes) -> None:
    use()
    path = home / ".cache" / "kmex-explorer" / "numba" / "umap" / "a.nbi"
    path.write_bytes(damage)
    assert not use()
    assert use()


def test_what_was_planted_is_deleted(home: Path) -> None:
    use()
    folder = home / ".cache" / "kmex-explorer" / "numba"
    (folder / "umap" / "planted.nbi").write_bytes(b"x")
    (folder / "link.nbi").symlink_to("/etc/passwd")
    with compiled.cache():
        assert [path.name for path in folder.rglob("*.nbi")] == ["a.nbi"]


@pytest.mark.parametrize("digests", ["", "[]", "{", '{"umap/a.nbi": 3}', "[" * 100_000])
def test_damaged_digests_keep_nothing(home: Path, digests: str) -> None:
    use()
    (home / ".cache" / "kmex-explorer" / "numba" / compiled.DIGESTS).write_text(digests)
    assert not use()


def test_a_use_that_fails_is_not_sealed(home: Path) -> None:
    def stopped() -> None:
        with compiled.cache():
            (Path(os.environ[compiled.VARIABLE]) / "half.nbi").write_bytes(b"ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with compiled.cache():
        assert not (compiled.private_folder() / "half.nbi").exists()


def test_files_that_another_process_renames_meanwhile_do_not_matter(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = compiled._files

    def files(folder: Path) -> dict[str, Path]:
        return listed(folder) | {"gone.nbi.tmp": folder / "gone.nbi.tmp"}

    monkeypatch.setattr(compiled, "_files", files)
    use()
    assert use()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_a_folder_that_others_can_write_to_is_not_used(home: Path, mode: int) -> None:
    use()
    folder = home / ".cache" / "kmex-explorer" / "numba"
    for place in (folder, folder.parent):
        place.chmod(mode)
        assert compiled.private_folder() != folder
        assert compiled.private_folder().stat().st_mode & 0o777 == 0o700
        place.chmod(0o700)
    assert compiled.private_folder() == folder


def test_without_a_home_code_is_kept_while_the_process_lives(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for value in (str(tmp_path / "file"), "/proc/nothing"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert compiled.private_folder() == compiled.private_folder()
        assert compiled.private_folder().is_absolute()
        assert "kmex-numba-" in compiled.private_folder().name
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert compiled.private_folder().is_absolute()


def test_a_relative_cache_home_is_ignored_as_its_specification_demands(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/path")
    assert compiled.private_folder() == home / ".cache" / "kmex-explorer" / "numba"


def test_the_users_own_choice_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path / "mine"))
    with compiled.cache():
        assert os.environ[compiled.VARIABLE] == str(tmp_path / "mine")
    assert not (home / ".cache").exists()
