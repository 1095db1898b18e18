"""Results that ship with the product: they are those that a store would compute, and no part of any store."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from kmex_core.base.artifact import Artifact
from kmex_core.base.files import read_file
from kmex_core.base.location import SHIPPED_RESULTS
from kmex_core.base.store import Store
from kmex_core.models.info import FIRST
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, subject_of
from kmex_core.stages.upkeep import SPECS, verify

SEEDS = range(5)


@pytest.fixture
def subject(store: Store) -> Subject:
    """The first demo, in an empty store."""
    return subject_of(store, FIRST)


def test_the_first_demo_needs_nothing_before_it_opens(subject: Subject, store: Store) -> None:
    results: list[Artifact[Any, Any]] = [
        *(subject.embedding(split) for split in ("train", "test")),
        subject.geometry(),
        subject.conversion(KMeans(5)),
        subject.embedding_map(),
        *(subject.sweep(KMeans(5, seed)) for seed in SEEDS),
        subject.suggestion(),
    ]
    for result in results:
        assert result.exists(), result.room
        assert result.peek() is not None, result.room
    assert subject.is_embedded
    # nothing else ships, and what ships is of today's specs
    files = {path.relative_to(SHIPPED_RESULTS).as_posix() for path in SHIPPED_RESULTS.rglob("*") if path.is_file()}
    assert files == {f"{result.room}/{result.key}.safetensors" for result in results}
    assert sum((SHIPPED_RESULTS / name).stat().st_size for name in files) < 6 * 2**20
    assert not store.root.exists()


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_embedding_is_what_the_network_gives(subject: Subject, split: str) -> None:
    shipped = subject.embedding(split).get()
    labels = subject.data.split(split).labels
    np.testing.assert_array_equal(shipped.labels, labels)
    rows = np.sort(np.random.default_rng(0).choice(len(labels), 60, replace=False))
    network = subject.network
    for indices, images, _ in subject.inputs(split, 60, rows):
        with torch.no_grad():
            z = network.encoder(images)
            predicted = network.head(z).argmax(1)
        np.testing.assert_allclose(shipped.z[indices], z.numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(shipped.black_box[indices], predicted.numpy())


def test_the_prototypes_are_those_of_the_embedding(subject: Subject) -> None:
    shipped, made = subject.conversion(KMeans(5)).get(), subject.conversion(KMeans(5)).make()
    np.testing.assert_allclose(shipped.prototypes.centers, made.prototypes.centers, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(shipped.prototypes.exemplar, made.prototypes.exemplar)
    np.testing.assert_array_equal(shipped.test_predicted, made.test_predicted)
    assert shipped.summary.accuracy_kmex == made.summary.accuracy_kmex


def test_a_store_reads_its_own_file_first_and_lists_no_other(
    store: Store, subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    room, key = "embeddings", subject.embedding("test").key
    assert store.has(room, key)
    assert store.names(room) == []
    assert store.description(room, key)["spec"]["split"] == "test"
    store.put(room, key, {"own": np.arange(3)}, {"spec": "own"})
    assert store.get(room, key)[0].keys() == {"own"}  # type: ignore[index]
    assert store.description(room, key) == {"spec": "own"}
    with caplog.at_level(logging.WARNING):
        store.path(room, key).write_bytes(b"damaged")
        shipped = store.get(room, key)
    assert shipped is not None
    assert "z" in shipped[0]
    assert "damaged" in caplog.text or "not" in caplog.text
    store.path(room, key).unlink()
    assert not verify(store).files


def test_a_name_leads_out_of_no_folder() -> None:
    for path in SHIPPED_RESULTS.rglob("*.safetensors"):
        assert path.parent.name in SPECS
        read_file(path)  # undamaged
