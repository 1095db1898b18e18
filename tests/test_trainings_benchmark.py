"""The prepared run of the paper's models on a card of another machine, on the CPU with tiny data."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import trainings
from kmex_core.base.errors import InputError
from kmex_core.base.location import SHIPPED
from kmex_core.base.store import Store
from kmex_core.models import catalogue
from kmex_core.reproduction import parallel
from tests.helpers.datasets import write_parquet
from tests.helpers.official import write_idx
from tests.helpers.pictures import encoded, striped
from tests.helpers.stores import put_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """MNIST's files, compressed, and parquet files of JPEG pictures."""
    root = tmp_path / "data"
    write_idx(root, "MNIST")
    for path in (root / "MNIST" / "raw").iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for split, count in (("train", 12), ("test", 4)):
        images = [encoded(image, "JPEG") for label in (0, 1) for image in striped(label, count, 32, 3)]
        write_parquet(root / "cifar10" / f"{split}.parquet", images, [0] * count + [1] * count, ["a", "b"])
    return root


def call(data: Path, store: Store, out: Path, *more: str) -> int:
    tiny = ("--backbone", "resnet20", "--epochs", "1", "--device", "cpu")
    return trainings.main(["--data", str(data), "--store", str(store.root), "--out", str(out), *tiny, *more])


def kept(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "trainings.json").read_text())
    return content


def test_the_order_is_the_black_box_three_times_and_then_each_baseline() -> None:
    names = [each.name for each in trainings.wanted()]
    assert names[:3] == ["reproduce-mnist-blackbox-0", "reproduce-cifar10-blackbox-0", "reproduce-mnist-blackbox-1"]
    assert names[6:8] == ["reproduce-mnist-protopnet-0", "reproduce-mnist-flint-0"]
    assert names[-1] == "reproduce-cifar10-protovae-0"
    assert len(set(names)) == 12


def test_what_is_cut_short_goes_on_on_another_machine(
    data: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trainings, "SHARD", 500_000)
    late = 0.0
    clock = time.monotonic

    def ended(*arguments: Any) -> None:
        nonlocal late
        keep(*arguments)
        late = 1e6 if len(store.names("models")) == 2 else 0.0

    keep = trainings.keep
    with monkeypatch.context() as patch:
        patch.setattr(trainings, "keep", ended)
        patch.setattr(time, "monotonic", lambda: clock() + late)
        assert call(data, store, tmp_path / "first") == 0
    assert "The time is up" in capsys.readouterr().out
    first = kept(tmp_path / "first")
    assert [row["model"] for row in first["rows"]] == [each.name for each in trainings.wanted()[:2]]
    assert len(first["machine"]["left"]) == 10
    assert all(0 <= row["accuracy"] <= 1 and row["images_per_second"] > 0 for row in first["rows"])
    shards = sorted((tmp_path / "first").glob("checkpoints-*.bin"))
    assert len(shards) > 2
    assert max(path.stat().st_size for path in shards) == 500_000

    elsewhere = Store(tmp_path / "elsewhere")
    assert call(data, elsewhere, tmp_path / "second", "--resume", str(tmp_path / "first")) == 0
    assert not kept(tmp_path / "second")["machine"]["left"]
    assert len(kept(tmp_path / "second")["rows"]) == 12
    for name in store.names("models"):
        assert catalogue.weights_key(elsewhere, name) == catalogue.weights_key(store, name)
    assert f"{trainings.wanted()[0].name}:" not in capsys.readouterr().out  # it was not trained again


def test_shards_are_written_and_read_in_parts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_weights: Path
) -> None:
    monkeypatch.setattr(trainings, "SHARD", 2**20)
    names = [each.name for each in trainings.wanted()]
    for name in (names[0], names[2]):
        store.path("models", name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_weights, store.path("models", name))
    for epoch in (2, 3):  # only the newer checkpoint is needed
        put_run(store, names[1], epoch)
    packed = [store.path("models", names[0]), store.path("runs", names[1]), store.path("models", names[2])]
    out, other = tmp_path / "out", Store(tmp_path / "other")
    total = json.loads(_packed(store, out, 0, 0))["shards"]
    assert total == -(-sum(path.stat().st_size for path in packed) // 2**20)
    assert not list(out.glob("*.bin"))
    assert trainings.pack(store, out, 0, 2) == ["checkpoints-000.bin", "checkpoints-001.bin"]
    assert trainings.restore(out, other) == [f"models/{names[2]}.safetensors"]
    assert trainings.pack(store, out, 2) == [f"checkpoints-{number:03}.bin" for number in range(2, total)]
    assert trainings.restore(out, other) == []
    for path in packed:
        assert (other.root / path.relative_to(store.root)).read_bytes() == path.read_bytes()
    assert not (other.root / "runs-even").exists()


def _packed(store: Store, out: Path, first: int, count: int) -> str:
    trainings.pack(store, out, first, count)
    return (out / trainings.MANIFEST).read_text()


@pytest.fixture
def demo_weights() -> Path:
    return SHIPPED / "digits.safetensors"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "../models/x.safetensors"}, "neither a model nor a checkpoint"),
        ({"path": "models/../../x.safetensors"}, "neither a model nor a checkpoint"),
        ({"bytes": -1}, "neither a model nor a checkpoint"),
        ({"bytes": "many"}, "cannot be read"),
        ({"digest": "0" * 32}, "is damaged"),
    ],
)
def test_a_list_that_leads_elsewhere_or_a_changed_shard_is_refused(
    store: Store, tmp_path: Path, demo_weights: Path, change: dict[str, Any], message: str
) -> None:
    name = trainings.wanted()[0].name
    store.path("models", name).parent.mkdir(parents=True)
    shutil.copy(demo_weights, store.path("models", name))
    listed = json.loads(_packed(store, tmp_path / "out", 0, 9))
    listed["files"][0] |= change
    (tmp_path / "out" / trainings.MANIFEST).write_text(json.dumps(listed))
    other = Store(tmp_path / "other")
    with pytest.raises(InputError, match=message):
        trainings.restore(tmp_path / "out", other)
    assert not other.root.exists()


def test_data_that_is_missing_or_too_large_is_reported(
    data: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parallel, "train", lambda *_, **__: pytest.fail("nothing is trained"))
    assert call(tmp_path / "nowhere", store, tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "mnist is not in" in out
    assert "cifar10 is not in" in out
    assert len(kept(tmp_path / "out")["machine"]["left"]) == 12
    monkeypatch.setattr(trainings, "MOST_UNPACKED", 100)
    assert call(data, store, tmp_path / "out") == 2
    assert "larger than a file of MNIST" in capsys.readouterr().err


def test_a_damaged_file_is_refused_with_a_message(
    data: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    for content in (path.read_bytes()[:-40], b"no archive"):
        path.write_bytes(content)
        assert call(data, store, tmp_path / "out") == 2
        assert "cannot be unpacked" in capsys.readouterr().err
