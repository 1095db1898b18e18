"""Sharded embeddings on disk: what other readers of parquet find in them, damage and hostile manifests, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.networks.types import Embeddings
from kmex_core.scale.sharded import MANIFEST, ShardedEmbedding, ShardWriter, sharded, shares
from tests.helpers.paths import ROOT

NAMES = ("a", "b|c", "ü")


def rows(count: int = 250, dimensions: int = 5, seed: int = 0) -> Embeddings:
    random = np.random.default_rng(seed)
    labels = random.choice([0, 2], count)  # a class without rows
    return Embeddings(random.normal(size=(count, dimensions)).astype(np.float32), labels, random.integers(0, 3, count))


def write(folder: Path, data: Embeddings, part_rows: int = 100, step: int = 33) -> ShardedEmbedding:
    writer = ShardWriter(
        folder, data.z.shape[1], NAMES, {"kind": "generated", "seed": 0, "side": 8}, part_rows=part_rows
    )
    for start in range(writer.rows, len(data), step):
        here = slice(start, start + step)
        writer.add(data.z[here], data.labels[here], data.black_box[here])
    return writer.finish()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    data = rows()
    written = write(tmp_path / "e", data)
    assert (written.rows, written.dimensions, written.class_names, written.name) == (250, 5, NAMES, "e")
    assert [part.rows for part in written.parts] == [100, 100, 50]
    assert written.counts.tolist() == np.bincount(data.labels, minlength=3).tolist()
    blocks = list(written.blocks())
    assert np.array_equal(np.concatenate([block.index for block in blocks]), np.arange(250))
    for name in ("z", "labels", "black_box"):
        assert np.array_equal(np.concatenate([getattr(block, name) for block in blocks]), getattr(data, name))
    members = np.flatnonzero(data.labels == 2)
    of_class = list(written.of_class(2))
    assert np.array_equal(np.concatenate([block.index for block in of_class]), members)
    assert np.array_equal(np.concatenate([block.z for block in of_class]), data.z[members])
    assert list(written.of_class(1)) == []
    assert [written.part_of(index) for index in (0, 99, 100, 249)] == [0, 0, 1, 2]


def test_pyarrow_finds_what_the_format_promises(tmp_path: Path) -> None:
    data = rows()
    write(tmp_path, data)
    table = pq.read_table(sorted(tmp_path.glob("*.parquet")))
    order = np.argsort(table["index"].to_numpy())
    assert np.array_equal(np.stack(table["z"].to_pylist())[order].astype(np.float32), data.z)
    assert np.array_equal(table["label"].to_numpy()[order], data.labels)
    file = pq.ParquetFile(tmp_path / "part-000000.parquet")
    assert [str(field.type) for field in file.schema_arrow] == [
        "int64", "int32", "int32", "fixed_size_list<element: float not null>[5]",
    ]  # fmt: skip
    groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    assert [set(group["label"].to_pylist()) for group in groups] == [{0}, {2}]
    assert all(group["index"].to_pylist() == sorted(group["index"].to_pylist()) for group in groups)
    column = file.metadata.row_group(0).column(3)
    assert (column.compression, "BYTE_STREAM_SPLIT" in column.encodings) == ("ZSTD", True)


def test_an_interrupted_writer_goes_on_after_its_last_whole_part(tmp_path: Path) -> None:
    data = rows()
    writer = ShardWriter(tmp_path, 5, NAMES, part_rows=100)
    writer.add(data.z[:230], data.labels[:230], data.black_box[:230])
    with pytest.raises(InputError, match="not finished: run the same command again"):
        ShardedEmbedding.open(tmp_path)
    before = (tmp_path / "part-000000.parquet").stat()
    damaged = tmp_path / "part-000001.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-50] + bytes(50))
    again = ShardWriter(tmp_path, 5, NAMES, part_rows=100)
    assert again.rows == 100
    again.add(data.z[100:], data.labels[100:], data.black_box[100:])
    whole = again.finish()
    assert np.array_equal(np.concatenate([block.z for block in whole.blocks()]), data.z)
    assert (tmp_path / "part-000000.parquet").stat().st_ino == before.st_ino
    assert (
        ShardWriter(tmp_path, 5, NAMES, part_rows=50).rows == 0
    )  # parts of another embedding are not taken for its own


def test_one_damaged_bit_is_noticed(tmp_path: Path) -> None:
    written = write(tmp_path, rows())
    path = tmp_path / "part-000001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="part-000001"):
        written.block(1)
    path.unlink()
    with pytest.raises(InputError, match="missing"):
        written.block(1)
    path.symlink_to(tmp_path / "part-000000.parquet")
    with pytest.raises(InputError, match="missing"):
        written.block(1)


def test_a_part_of_another_embedding_is_refused(tmp_path: Path) -> None:
    written = write(tmp_path / "a", rows())
    write(tmp_path / "b", rows(dimensions=6))
    os.replace(tmp_path / "b" / "part-000000.parquet", tmp_path / "a" / "part-000000.parquet")
    with pytest.raises(InputError, match="other columns"):
        written.block(0)
    os.replace(tmp_path / "a" / "part-000001.parquet", tmp_path / "a" / "part-000000.parquet")
    with pytest.raises(InputError, match="row groups|does not have the rows"):
        written.block(0)


Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(kmex="other"),
        lambda m: m.update(version=2),
        lambda m: m.update(rows=10**12),
        lambda m: m.update(rows=-1),
        lambda m: m.update(dimensions=2**40),
        lambda m: m.update(dimensions=True),
        lambda m: m.update(dimensions="5"),
        lambda m: m.update(class_names="abc"),
        lambda m: m.update(class_names=[1, 2, 3]),
        lambda m: m.update(parts=[]),
        lambda m: m.update(parts="part"),
        lambda m: m.update(parts=m["parts"] * 2),
        lambda m: m.update(images=[1]),
        lambda m: m.pop("parts"),
        lambda m: m["parts"][0].update(file="../../etc/passwd"),
        lambda m: m["parts"][0].update(file="/etc/passwd"),
        lambda m: m["parts"][1].update(file="part-000000.parquet"),
        lambda m: m["parts"][0].update(counts=[10**9, 0, 0]),
        lambda m: m["parts"][0].update(counts=[-1, 1, 100]),
        lambda m: m["parts"][0].update(rows=10**9),
        lambda m: m["parts"][1].update(first=7),
    ],
)  # fmt: skip
def test_hostile_manifests_are_refused_in_words(change: Change, tmp_path: Path) -> None:
    write(tmp_path, rows())
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    change(manifest)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="manifest.json is damaged"):
        ShardedEmbedding.open(tmp_path)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "[" * 100_000, '{"kmex": 1}', "\x00", "1e999"])
def test_what_is_no_manifest_is_refused_in_words(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="manifest.json is damaged"):
        ShardedEmbedding.open(tmp_path)


def test_a_folder_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kmex extract writes such a folder"):
        ShardedEmbedding.open(tmp_path)


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (np.full((3, 5), np.nan, np.float32), np.zeros(3, int), "not finite"),
        (np.zeros((3, 5), np.float32), np.array([0, 1, 3]), "Expected classes 0 to 2"),
        (np.zeros((3, 5), np.float32), np.array([0, -1, 2]), "Expected classes 0 to 2"),
        (np.zeros((3, 4), np.float32), np.zeros(3, int), "embeddings of 5 dimensions"),
    ],
)
def test_what_cannot_be_written_is_refused(z: np.ndarray, labels: np.ndarray, message: str, tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 5, NAMES, part_rows=3)
    with pytest.raises(InputError, match=message):
        writer.add(z, labels)
    with pytest.raises(InputError, match="no embeddings"):
        ShardWriter(tmp_path / "none", 5, NAMES).finish()
    with pytest.raises(InputError, match="cannot be one part"):
        ShardWriter(tmp_path, 10**9, NAMES)


def test_a_sample_has_each_class_in_proportion(tmp_path: Path) -> None:
    data = rows(900)
    written = write(tmp_path, data)
    sample = written.sample(90, seed=1)
    assert np.array_equal(sample.z, data.z[sample.index])
    assert np.array_equal(sample.labels, data.labels[sample.index])
    assert len(np.unique(sample.index)) == len(sample) == 90
    assert np.allclose(np.bincount(sample.labels, minlength=3), written.counts / 10, atol=1)
    assert np.array_equal(written.sample(90, seed=1).index, sample.index)
    assert not np.array_equal(written.sample(90, seed=2).index, sample.index)
    assert len(written.sample(10**6, seed=0)) == 900


@pytest.mark.parametrize("size", [1, 2, 5, 17, 100, 1005, 2000])
def test_shares_add_up(size: int) -> None:
    counts = np.array([1000, 0, 3, 1, 1])
    wanted = shares(counts, size)
    assert (wanted <= counts).all()
    assert (wanted[counts > 0] >= 1).all()
    assert wanted.sum() == min(max(size, 4), 1005)


def test_a_store_lists_its_own_and_leaves_damaged_ones_out(tmp_path: Path, store: Store) -> None:
    write(store.root / "sharded" / "good", rows())
    (store.root / "sharded" / "bad").mkdir()
    (store.root / "sharded" / "bad" / MANIFEST).write_text("[]")
    assert [each.name for each in sharded(store)] == ["good"]


def test_memory_is_bounded_by_a_part(tmp_path: Path) -> None:
    """Writing and reading 16 times as many rows takes no more memory."""
    program = """
import resource, sys
import numpy as np
from pathlib import Path
from kmex_core.scale.sharded import ShardWriter
rows, folder = int(sys.argv[1]), Path(sys.argv[2])
writer = ShardWriter(folder, 64, ["a", "b"], part_rows=8192)
random = np.random.default_rng(0)
for _ in range(rows // 8192):
    writer.add(random.normal(size=(8192, 64)).astype(np.float32), random.integers(0, 2, 8192))
whole = writer.finish()
assert sum(len(block) for block in whole.blocks()) == rows
assert len(whole.sample(1000, 0)) == 1000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", program, str(8192 * parts), tmp_path / str(parts)],
                cwd=ROOT, check=True, capture_output=True, text=True,
            ).stdout
        )
        for parts in (4, 64)
    ]  # fmt: skip
    assert peaks[1] - peaks[0] < 40_000, peaks  # KB; all rows are 134 MB
