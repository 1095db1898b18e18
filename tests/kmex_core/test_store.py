from __future__ import annotations

import errno
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmex_core.errors import InputError, StoreError
from kmex_core.store import Store, checked_name, default_root, digest, read_description, read_file, write_file

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

    store.made("room", "key", make)
    store.made("room", "key", make)
    assert len(made) == 1
    path = store.path("room", "key")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert store.made("room", "key", make)[1] == {"n": 2}
    assert store.get("room", "key") is not None


def test_two_threads_make_a_result_once(store: Store) -> None:
    made = []
    ready = threading.Barrier(4)

    def make() -> tuple[dict[str, np.ndarray], dict[str, int]]:
        made.append(1)
        return {"a": np.ones(3)}, {}

    def work() -> None:
        ready.wait()
        store.made("room", "key", make)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "x.safetensors"
    write_file(path, {"a": np.zeros(2)}, {"old": True})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(StoreError, match="No space left"):
        write_file(path, {"a": np.ones(2)}, {"old": False})
    monkeypatch.undo()
    assert read_file(path)[1] == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    with pytest.raises(StoreError, match="KMEX_CACHE"):
        store.put("room", "key", {"a": np.ones(1)}, {})
    with pytest.raises(StoreError, match="KMEX_CACHE"):
        store.made("room", "key", lambda: ({"a": np.ones(1)}, {}))


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a" * 65, "a\n", "x.", "ü", "a b"])
def test_no_name_leads_out_of_the_store(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a model's name"):
        store.path("models", name)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9]", fullmatch=True))
def test_sensible_names_are_kept(name: str) -> None:
    assert checked_name(name) == name


def test_the_digest_sees_names_shapes_types_and_values() -> None:
    base = {"a": np.zeros((2, 3), np.float32)}
    others = [
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
    assert default_root().name == "data_cache"
