"""An embedding that is interrupted goes on where it was, and is bit for bit what it would have been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmex_core.base.progress import Event
from kmex_core.base.store import Store
from kmex_core.data.registry import ImageDataset
from kmex_core.models import catalogue as models
from kmex_core.models.info import ModelInfo
from kmex_core.networks.types import Embeddings
from kmex_core.stages import embedding, shards
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.paths import ROOT

SPLIT = "test"


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every section is written."""
    monkeypatch.setattr(shards, "EVERY", -1.0)
    monkeypatch.setattr(embedding, "BATCH", 64)


class Interrupted(KeyboardInterrupt):
    pass


def embedded(store: Store, stop: int = 10**9) -> tuple[Embeddings, list[int]]:
    """The embedding of the digits' test images, and where the computation was at each report."""
    info, data = digits(store)
    reports: list[int] = []

    def progress(event: Event) -> None:
        reports.append(event.done)
        if event.done >= stop:
            raise Interrupted

    return Subject(store, info, data, progress=progress).embedding(SPLIT).get(), reports


def digits(store: Store) -> tuple[ModelInfo, ImageDataset]:
    info = models.describe(store, "digits")
    return info, dataset_of(info)


def same(one: Embeddings, other: Embeddings) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.to_arrays().values(), other.to_arrays().values(), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "BATCH", 64)
        return embedded(Store(tmp_path_factory.mktemp("whole")))[0]


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("stops", [[1], [250], [100, 250, 400]])
def test_an_interrupted_embedding_goes_on_where_it_was(store: Store, whole: Embeddings, stops: list[int]) -> None:
    before = 0
    for stop in stops:
        if stop < len(whole):
            with pytest.raises(Interrupted):
                embedded(store, stop)
            kept = len(store.names(shards.ROOM))
            assert kept >= before
            before = kept
    made, reports = embedded(store)
    assert same(made, whole)
    if stops[-1] in (250, 400):
        assert reports[0] >= stops[-1] - 2 * 64  # nothing that was done is done again, but for a section
    assert store.names(shards.ROOM) == []


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("harm", ["damaged", "cut", "gone", "of another"])
def test_a_shard_that_cannot_be_used_is_made_again(store: Store, whole: Embeddings, harm: str) -> None:
    with pytest.raises(Interrupted):
        embedded(store, 400)
    names = store.names(shards.ROOM)
    path = store.path(shards.ROOM, names[2])
    content = bytearray(path.read_bytes())
    if harm == "damaged":
        content[-3] ^= 1
        path.write_bytes(content)
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "gone":
        path.unlink()
    else:
        key = names[2].partition("-")[0]
        other = f"{'0' * len(key)}-{0:012d}"
        store.put(shards.ROOM, other, {"z": np.zeros((2, 2), np.float32)}, {})
    made, reports = embedded(store)
    assert same(made, whole)
    assert reports[0] == (2 * 64 if harm != "of another" else 64 * len(names))
    assert store.names(shards.ROOM) == ([] if harm != "of another" else [other])


def test_what_is_quick_writes_no_shards(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    put = Store.put

    def spy(self: Store, room: str, *rest: Any) -> None:
        written.append(room)
        put(self, room, *rest)

    monkeypatch.setattr(Store, "put", spy)
    embedded(store)
    assert written == ["embeddings"]


KILLED = """
import os, signal, sys
from kmex_core.stages import embedding, shards
from kmex_core.stages.subject import subject_of
from kmex_core.base.store import Store
shards.EVERY, embedding.BATCH = -1.0, 64
store = Store()
def progress(event):
    if event.done >= 300:
        os.kill(os.getpid(), signal.SIGKILL)
subject_of(store, "digits", progress=progress).embedding("test").get()
"""


@pytest.mark.usefixtures("_eager")
def test_a_killed_process_loses_a_section_at_most(store: Store, whole: Embeddings, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=ROOT, env=os.environ | {"KMEX_CACHE": str(store.root)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    made, reports = embedded(store)
    assert reports[0] >= 300 - 2 * 64
    assert same(made, whole)


@pytest.mark.usefixtures("_eager")
def test_a_read_only_process_writes_no_shards_and_is_stopped_as_any(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    with pytest.raises(Interrupted):
        embedded(store, 64)
    read_only, _ = embedded(store)
    assert not [path for path in store.root.rglob("*") if path.is_file()]
    monkeypatch.delenv("KMEX_READ_ONLY")
    written, _ = embedded(store)
    assert np.array_equal(read_only.z, written.z)
