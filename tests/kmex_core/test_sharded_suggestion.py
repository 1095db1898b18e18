"""Suggested numbers of prototypes of sharded embeddings against those of the same rows in one piece."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.store import READ_ONLY
from kmex_core.prototypes import suggestion as module
from kmex_core.prototypes.metric import EmbeddingMetric, fit_metric
from kmex_core.prototypes.suggestion import SEED, Evidence, evidence
from kmex_core.scale import suggestion
from kmex_core.scale.engine import Local
from kmex_core.scale.sharded import ShardedEmbedding, ShardWriter
from kmex_core.scale.suggestion import REACH, sharded_suggestion, stored_suggestion

SIZES, GROUPS = (1400, 300, 300, 40, 1, 1100), (4, 3, 1, 2, 1, 1)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Classes of several groups, two of them larger than the sample that evidence is from, in any order."""
    random = np.random.default_rng(0)
    classes = [3 * random.normal(size=(groups, 12))[random.integers(groups, size=size)]
               for size, groups in zip(SIZES, GROUPS, strict=True)]  # fmt: skip
    labels = np.repeat(np.arange(len(SIZES)), SIZES)
    z = (np.concatenate(classes) + random.normal(size=(len(labels), 12))).astype(np.float32)
    order = random.permutation(len(labels))
    return z[order], labels[order]


def shards(folder: Path, z: np.ndarray, labels: np.ndarray) -> ShardedEmbedding:
    writer = ShardWriter(folder, z.shape[1], [f"class {label}" for label in range(len(SIZES))], part_rows=450)
    writer.add(z, labels)
    return writer.finish()


def same(one: Evidence, other: Evidence) -> bool:
    names = [field.name for field in dataclasses.fields(Evidence)]
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in names)


def test_parts_suggest_what_the_whole_does(rows: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    z, labels = rows
    expected = evidence(torch.from_numpy(z), labels, REACH, SEED)
    assert expected.suggested.tolist() == list(GROUPS)
    embedding = shards(tmp_path, z, labels)
    found = sharded_suggestion(embedding, EmbeddingMetric(), Local())
    assert same(found, expected), "bit for bit"
    whitened = fit_metric("whitened", z, labels)
    expected = evidence(torch.from_numpy(whitened(z)), labels, REACH, SEED)
    again = sharded_suggestion(embedding, whitened, Local())
    assert again.suggested.tolist() == expected.suggested.tolist()
    assert np.allclose(again.gap, expected.gap, atol=0.02, equal_nan=True)
    stored = stored_suggestion(embedding, EmbeddingMetric())
    assert stored is not None
    assert same(stored, found), "each metric has its own"


def test_what_is_done_is_not_done_again(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that stops after two of its batches goes on with the third, and a third run has nothing to do."""
    embedding = shards(tmp_path, *rows)
    monkeypatch.setattr(module, "CELLS", 1)  # a class in each batch
    sizes: list[int] = []

    def watched(samples: list[torch.Tensor], reach: int, seed: int) -> Arrays:
        sizes.extend(len(sample) for sample in samples)
        return module.of_batch(samples, 3, seed)

    monkeypatch.setattr(suggestion, "of_batch", watched)

    class Stop(Exception):
        pass

    def stop(event: object) -> None:
        if "done=3" in str(event):
            raise Stop

    with pytest.raises(Stop):
        sharded_suggestion(embedding, EmbeddingMetric(), Local(), stop)
    assert sizes == [1, 40, 300], "the smallest first"
    assert stored_suggestion(embedding, EmbeddingMetric()) is None
    found = sharded_suggestion(embedding, EmbeddingMetric(), Local())
    assert sizes == [1, 40, 300, 300, 1000, 1000]
    assert same(sharded_suggestion(embedding, EmbeddingMetric(), Local()), found)
    assert len(sizes) == 6
    assert not list(embedding.results.glob("work-*"))


def test_what_cannot_be_suggested_is_said(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, labels = rows
    some = labels != 3
    embedding = shards(tmp_path / "gap", z[some], labels[some])
    with pytest.raises(InputError, match="Classes without any: 'class 3'"):
        sharded_suggestion(embedding, EmbeddingMetric(), Local())
    monkeypatch.setenv(READ_ONLY, "1")
    with pytest.raises(InputError, match="read-only"):
        sharded_suggestion(embedding, EmbeddingMetric(), Local())
    assert not embedding.results.exists()
