from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import pickle
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import lock_descriptor
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from kmex_core.base import files, location
from kmex_core.base import store as store_module
from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import digest, read_description, read_file, write_bytes, write_file
from kmex_core.base.location import SHIPPED, default_root
from kmex_core.base.progress import Event
from kmex_core.base.store import Store, checked_name
from tests.helpers.paths import ROOT

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7), "empty": np.empty((0, 4), np.int64)}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_file(tmp_path / "x.safetensors", ARRAYS, {"seed": 3, "names": ["ä", "b"]})
    arrays, description = read_file(tmp_path / "x.safetensors")
    assert description == {"seed": 3, "names": ["ä", "b"]}
    assert read_description(tmp_path / "x.safetensors") == description
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_non_contiguous_arrays_keep_their_values(tmp_path: Path) -> None:
    array = np.arange(12).reshape(3, 4).T
    write_file(tmp_path / "x.safetensors", {"a": array}, {})
    np.testing.assert_array_equal(read_file(tmp_path / "x.safetensors")[0]["a"], array)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, change: int) -> None:
    path = tmp_path_factory.mktemp("damage") / "x.safetensors"
    write_file(path, ARRAYS, {"seed": 3})
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    try:
        arrays, description = read_file(path)
    except StoreError:
        return
    # a change that is not noticed may only be one that changes nothing (JSON white space in the header)
    assert description == {"seed": 3}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_changed_description_is_noticed_by_those_who_read_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("damage") / "x.safetensors"
    written = {"accuracy": 0.9375, "name": "one", "k": 12}
    write_file(path, ARRAYS, written)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[place % header] ^= 1 << bit
    path.write_bytes(content)
    with contextlib.suppress(StoreError):
        assert read_description(path) == written


def test_files_without_a_digest_of_the_description_are_read(tmp_path: Path) -> None:
    """Those of older versions, and the demos that come with the product."""
    path = tmp_path / "old.safetensors"
    text = '{"seed": 3}'
    path.write_bytes(save({"a": np.ones(2)}, {"kmex": text, "digest": digest({"a": np.ones(2)}, text)}))
    assert read_description(path) == read_file(path)[1] == {"seed": 3}
    for demo in SHIPPED.glob("*.safetensors"):
        assert read_description(demo) == read_file(demo)[1]


def test_a_file_that_goes_is_missing_and_not_damaged(tmp_path: Path) -> None:
    for read in (read_file, read_description):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")  # a reader would wait for ever
    with pytest.raises(FileNotFoundError):
        read_description(tmp_path / "pipe")


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 100, pickle.dumps({"a": 1})])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.safetensors"):
        read_file(path)
    with pytest.raises(StoreError):
        read_description(path)


def test_a_pickle_in_the_store_is_never_run(tmp_path: Path, store: Store) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/exploded",)

    path = store.path("embeddings", "abc")
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(Bomb()))
    assert store.get("embeddings", "abc") is None
    assert not (tmp_path / "exploded").exists()


def test_a_damaged_result_is_made_again(store: Store) -> None:
    made = []

    def make() -> tuple[dict[str, np.ndarray], dict[str, int]]:
        made.append(1)
        return {"a": np.ones(3)}, {"n": len(made)}

    store.get_or_make("room", "key", make)
    store.get_or_make("room", "key", make)
    assert len(made) == 1
    path = store.path("room", "key")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert store.get_or_make("room", "key", make)[1] == {"n": 2}
    assert store.get("room", "key") is not None


def test_two_threads_make_a_result_once(store: Store) -> None:
    made = []
    ready = threading.Barrier(4)

    def make() -> tuple[dict[str, np.ndarray], dict[str, int]]:
        made.append(1)
        return {"a": np.ones(3)}, {}

    def work() -> None:
        ready.wait()
        store.get_or_make("room", "key", make)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


FAILURES = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT]


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("failing", ["fsync", "replace", "open", "write"])
def test_a_failed_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, code: int) -> None:
    path = tmp_path / "x.safetensors"
    write_file(path, {"a": np.zeros(2)}, {"old": True})

    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    class Full(io.FileIO):
        def write(self, content: object) -> int:
            super().write(b"cut o")  # a part of it finds room
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if failing == "open":
            patch.setattr(builtins, "open", full)
        elif failing == "write":
            patch.setattr(builtins, "open", lambda part, mode: Full(part, mode.replace("b", "")))
        else:
            patch.setattr(os, failing, full)
        with pytest.raises(StoreError, match=re.escape(os.strerror(code))):
            write_file(path, {"a": np.ones(2)}, {"old": False})
    assert read_file(path)[1] == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            write_file(tmp_path / "x.safetensors", {"a": np.ones(2)}, {})
    assert list(tmp_path.iterdir()) == []


def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What reaches the disk from now on, in order."""
    steps: list[tuple[str, str]] = []
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def watched_fsync(file: int) -> None:
        steps.append(("sync", Path(os.readlink(f"/proc/self/fd/{file}")).name))
        fsync(file)

    def watched_replace(part: Path, path: Path) -> None:
        steps.append(("name", Path(path).name))
        replace(part, path)

    def watched_unlink(path: Path, missing_ok: bool = False) -> None:
        steps.append(("remove", path.name))
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    monkeypatch.setattr(Path, "unlink", watched_unlink)
    return steps


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of open files are read from /proc")
def test_what_is_written_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content before its name, then the name; and the names of folders that were made for it."""
    steps = synced(monkeypatch)
    write_bytes(tmp_path / "new" / "room" / "x", b"content")
    assert [step for step, _ in steps] == ["sync", "sync", "sync", "name", "sync"]
    assert [name for _, name in steps[:2]] == ["new", tmp_path.name]  # of "room" and of "new"
    assert steps[2][1].startswith(".x.")
    assert steps[3:] == [("name", "x"), ("sync", "room")]
    steps.clear()
    files.move_file(tmp_path / "new" / "room" / "x", tmp_path / "new" / "room" / "y")
    files.remove_file(tmp_path / "new" / "room" / "y")
    assert steps == [("name", "y"), ("sync", "room"), ("remove", "y"), ("sync", "room")]
    steps.clear()
    write_bytes(tmp_path / "new" / "room" / "report", b"{}", durable=False)
    assert steps == [("name", "report")]


def test_a_disk_that_does_not_confirm_a_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def broken(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(StoreError, match="the disk did not confirm it"):
            write_bytes(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"


def test_a_file_system_that_syncs_no_folders_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def without(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", without)
    write_bytes(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"


@pytest.mark.parametrize("faster", ["takes it", "has it"])
def test_a_collector_that_is_faster_than_a_writer_costs_the_writer_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    """It may find the part in the moment between its making and its lock."""
    real = lock_descriptor
    calls: list[int] = []
    held: list[int] = []

    def late(file: int, *, blocking: bool) -> bool:
        calls.append(file)
        if len(calls) > 1:
            return real(file, blocking=blocking)
        (part,) = tmp_path.glob(".*.part")
        if faster == "takes it":
            part.unlink()
        else:
            held.append(os.open(part, os.O_RDWR))
            assert real(held[0], blocking=False)
        return real(file, blocking=blocking)

    monkeypatch.setattr(files, "lock_descriptor", late)
    write_bytes(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"
    for file in held:
        os.close(file)


def test_waiting_is_told_and_can_be_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.05)
    stages: list[str] = []

    def stop(event: Event) -> None:
        stages.append(event.text)
        if len(stages) == 3:
            raise KeyboardInterrupt

    with store.locked("embeddings", "key"), pytest.raises(KeyboardInterrupt):
        store.get_or_make("embeddings", "key", lambda: ({"a": np.ones(1)}, {}), stop)
    assert stages == ["Waiting for another process that computes the same embeddings"] * 3
    store.get_or_make("embeddings", "key", lambda: ({"a": np.ones(1)}, {}), stop)  # and nothing is held
    assert len(stages) == 3


def test_the_lock_of_a_process_that_was_killed_is_free(store: Store) -> None:
    program = (
        "import sys, time; from kmex_core.base.store import Store\n"
        "with Store(sys.argv[1]).locked('embeddings', 'key'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(store.root)], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(InputError, match="busy"), store.locked("embeddings", "key", "busy"):
        pass
    holder.kill()
    holder.wait()
    with store.locked("embeddings", "key", "busy"):
        pass


def test_results_whose_names_differ_in_capitals_share_a_lock(store: Store) -> None:
    with store.locked("room", "Key"), pytest.raises(InputError), store.locked("room", "kEY", "busy"):
        pass


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "file"))
    store = Store(tmp_path / "file")
    with pytest.raises(StoreError, match="KMEX_CACHE"):
        store.put("room", "key", {"a": np.ones(1)}, {})
    with pytest.raises(StoreError, match="KMEX_CACHE"):
        store.get_or_make("room", "key", lambda: ({"a": np.ones(1)}, {}))


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a" * 65, "a\n", "x.", "ü", "a b"])
def test_no_name_leads_out_of_the_store(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="Invalid model name"):
        store.path("models", name)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9]", fullmatch=True))
def test_sensible_names_are_kept(name: str) -> None:
    assert checked_name(name) == name


def test_the_digest_sees_names_shapes_types_and_values() -> None:
    base = {"a": np.zeros((2, 3), np.float32)}
    others: list[dict[str, np.ndarray]] = [
        {"b": np.zeros((2, 3), np.float32)},
        {"a": np.zeros((3, 2), np.float32)},
        {"a": np.zeros((2, 3), np.int32)},
        {"a": np.full((2, 3), 1e-9, np.float32)},
    ]
    assert digest(base) == digest({"a": np.zeros((2, 3), np.float32)})
    assert len({digest(base), *(digest(other) for other in others), digest(base, "text")}) == 6


def test_the_store_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "there"))
    assert default_root() == tmp_path / "there"
    monkeypatch.delenv("KMEX_CACHE")
    assert default_root() == ROOT / "data_cache"


def test_outside_a_clone_the_store_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(location, "__file__", str(tmp_path / "site-packages" / "kmex_core" / "base" / "location.py"))
    monkeypatch.delenv("KMEX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data_cache").mkdir()
    monkeypatch.chdir(tmp_path)  # what a folder happens to hold does not matter
    assert default_root() == tmp_path / "cache" / "kmex-explorer" / "store"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(InputError, match="KMEX_CACHE"):
        default_root()
    monkeypatch.setenv("KMEX_CACHE", str(tmp_path / "there"))
    assert default_root() == tmp_path / "there"


def test_a_read_only_process_reads_and_makes_other_results_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("prototypes", "there", {"a": np.ones(2)}, {})
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    begun, go_on, made = threading.Event(), threading.Event(), []

    def slowly() -> tuple[dict[str, np.ndarray], dict[str, object]]:
        made.append("slow")
        begun.set()
        assert go_on.wait(20)
        return {"a": np.zeros(1)}, {}

    waiting = [threading.Thread(target=store.get_or_make, args=("projections", "slow", slowly)) for _ in range(2)]
    for thread in waiting:
        thread.start()
    assert begun.wait(20)
    assert store.get("prototypes", "there") is not None
    assert store.get("projections", "other") is None
    arrays, _ = store.get_or_make("projections", "quick", lambda: ({"a": np.full(3, 7)}, {}))
    assert arrays["a"].tolist() == [7, 7, 7]
    assert all(thread.is_alive() for thread in waiting)
    go_on.set()
    for thread in waiting:
        thread.join(20)
    assert made == ["slow"]  # by one for both


def test_a_file_outside_the_store_gets_no_advice_about_the_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError) as refused:
        write_bytes(tmp_path / "file" / "out.csv", b"a")
    assert "KMEX_CACHE" not in str(refused.value)
    (store.root / "models").parent.mkdir(parents=True, exist_ok=True)
    (store.root / "models").write_text("in the way")
    with pytest.raises(StoreError, match="KMEX_CACHE"):
        store.put("models", "a", {}, {})
