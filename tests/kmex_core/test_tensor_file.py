"""Our reader and writer of safetensors beside the library, and files that lie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from kmex_core.base import tensor_file
from kmex_core.base.errors import StoreError
from kmex_core.base.files import digest, read_description, read_file, read_length, write_file
from kmex_core.base.store import Store
from kmex_core.base.tensor_file import Rows

KINDS = ["?", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8", "c8"]


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = [(3, 5), (), (0, 4), (7,), (2, 1, 3)]
    return {
        f"{kind.strip('?') or 'b'}{place}": np.asarray(random.integers(0, 2, shape)).astype(kind)
        for kind in KINDS
        for place, shape in enumerate(shapes)
    }


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one
    )


def test_the_library_reads_what_we_write_and_we_what_it_writes(tmp_path: Path) -> None:
    ours, theirs, given = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors", arrays()
    write_file(ours, given, {"a": 1})
    assert same(safetensors.numpy.load_file(ours), given)
    with safe_open(ours, "numpy") as file:
        assert file.metadata()["digest"] == digest(given, file.metadata()["kmex"])
        header = dict(file.metadata())
    safetensors.numpy.save_file(given, theirs, header)
    read, description = read_file(theirs)
    assert same(read, given)
    assert description == {"a": 1}
    assert read_length(theirs, "f43") == 7


def test_big_endian_and_turned_arrays_are_stored_as_any(tmp_path: Path) -> None:
    path, values = tmp_path / "a.safetensors", np.arange(6, dtype=np.float32).reshape(2, 3)
    write_file(path, {"big": values.astype(">f4"), "turned": np.asfortranarray(values)}, {})
    read, _ = read_file(path)
    assert same(read, {"big": values, "turned": values})
    with pytest.raises(ValueError, match="cannot be stored"):
        write_file(path, {"words": np.array(["a"])}, {})
    assert same(read_file(path)[0], read)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def in_parts(whole: dict[str, np.ndarray], sizes: list[int]) -> Rows:
    def parts() -> Iterator[dict[str, np.ndarray]]:
        start = 0
        for size in sizes:
            yield {name: array[start : start + size] for name, array in whole.items()}
            start += size

    return Rows({name: (array.dtype, array.shape) for name, array in whole.items()}, parts)


@pytest.mark.parametrize("sizes", [[10], [3, 0, 7], [1] * 10])
def test_rows_in_parts_are_the_file_of_the_whole(tmp_path: Path, sizes: list[int]) -> None:
    random = np.random.default_rng(1)
    whole: dict[str, np.ndarray] = {
        "z": random.standard_normal((10, 3)).astype(np.float32),
        "labels": np.arange(10),
    }
    write_file(tmp_path / "whole", whole, {"a": "ü"})
    write_file(tmp_path / "parts", in_parts(whole, sizes), {"a": "ü"})
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("sizes", [[9], [11], []])
def test_parts_that_are_not_the_whole_leave_nothing(tmp_path: Path, sizes: list[int]) -> None:
    whole = {"z": np.zeros((11, 3), np.float32)}
    rows = Rows({"z": (np.dtype(np.float32), (10, 3))}, in_parts(whole, sizes).parts)
    with pytest.raises(ValueError, match="parts have"):
        write_file(tmp_path / "a", rows, {})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_in_the_middle_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    before = {"z": np.ones((4, 2), np.float32)}
    write_file(tmp_path / "a", before, {})

    def parts() -> Iterator[dict[str, np.ndarray]]:
        yield {"z": np.zeros((5, 3), np.float32)}
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        write_file(tmp_path / "a", Rows({"z": (np.dtype(np.float32), (10, 3))}, parts), {})
    assert same(read_file(tmp_path / "a")[0], before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_large_arrays_are_mapped_checked_and_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "MAPPED", 1)
    store, values = Store(tmp_path), arrays()
    store.put("embeddings", "a", values, {})
    path = store.path("embeddings", "a")
    held = store.get("embeddings", "a")
    assert held is not None
    assert same(held[0], values)
    assert not held[0]["f40"].flags.owndata  # mapped
    assert type(held[0]["f40"]) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        held[0]["f40"][:] = 7
    write_file(path, arrays(1), {})  # replaced, while the old one is mapped
    assert np.array_equal(held[0]["i80"], values["i80"])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.get("embeddings", "a") is None


Z = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        b"", b"{}" * 4, b"[]", b"7", b"[" * 5000, b'{"z": 7}', b"\xff" * 8, b'{"__metadata__": {"a": 1}}',
        {"z": Z | {"shape": [2**40]}}, {"z": Z | {"shape": [-2]}}, {"z": Z | {"shape": [2.0]}},
        {"z": Z | {"dtype": "F128"}}, {"z": Z | {"dtype": ["F32"]}}, {"z": Z | {"data_offsets": [0]}},
        {"z": Z | {"data_offsets": [8, 0]}}, {"z": Z | {"data_offsets": [4, 12]}}, {"z": Z | {"shape": "22"}},
        {"z": Z, "y": Z}, {"z": Z | {"shape": [True, 2]}}, {"z": Z | {"shape": [1], "data_offsets": [0, 4]}},
    ],
)  # fmt: skip
def test_headers_that_lie_are_errors(tmp_path: Path, header: Any) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    for read in (read_file, read_description, lambda path: read_length(path, "z")):
        with pytest.raises(StoreError):
            read(path)
    path.write_bytes((2**62).to_bytes(8, "little") + text)
    with pytest.raises(StoreError, match="header would have"):
        read_file(path)


MEMORY = """
import json, sys
from pathlib import Path
from benchmarks.extraction import synthetic
print(json.dumps(synthetic(Path(sys.argv[1]), int(sys.argv[2]))["peak"]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux")
def test_memory_does_not_grow_with_the_rows_of_an_embedding(tmp_path: Path) -> None:
    from tests.helpers.paths import ROOT

    peaks = [
        float(subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEMORY, str(tmp_path / str(rows)), str(rows)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout)
        for rows in (2_000, 60_000)
    ]  # fmt: skip
    assert peaks[1] - peaks[0] < 80  # MB: the array has 123, and was held twice; up to 50 of rows are on their way


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep the pages")
def test_pages_of_mapped_arrays_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "MAPPED", 1)
    store, values = Store(tmp_path), arrays()
    for name in ("a", "gone"):
        store.put("embeddings", name, values, {})
    held = store.get("embeddings", "a")
    assert held is not None
    assert store.get("embeddings", "gone") is not None  # and nobody holds it
    store.path("embeddings", "a").unlink()
    held[0]["f40"].flags.writeable = True
    held[0]["f40"][:] = 7
    tensor_file.let_go()
    assert same(held[0], values)  # read anew
