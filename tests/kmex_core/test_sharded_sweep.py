"""Prototypes of sharded embeddings against those of the same embedding in one piece, and by a coreset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kmex_core import metrics
from kmex_core.base.errors import InputError
from kmex_core.base.files import read_file, write_file
from kmex_core.base.progress import silent
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.fit import nearest_prototypes
from kmex_core.prototypes.metric import EmbeddingMetric, fit_metric
from kmex_core.scale.clustering import COPIES
from kmex_core.scale.clusters import ClassItem, Clustering, unpacked, whole_class
from kmex_core.scale.coreset import coreset_clusters
from kmex_core.scale.engine import Local
from kmex_core.scale.sharded import ShardedEmbedding, ShardWriter
from kmex_core.scale.sweep import sharded_sweep, stored_sweep
from kmex_core.stages.sweep import swept

NAMES = ("a", "b", "c")
MUCH = 10**12


def groups(count: int, seed: int = 0, dimensions: int = 8, per_class: int = 6) -> Embeddings:
    """Classes of several groups each, some rows with another class's label."""
    random = np.random.default_rng(seed)
    places = np.random.default_rng(7).normal(size=(len(NAMES) * per_class, dimensions)) * 4
    group = random.choice(len(places), count, p=(w := np.arange(1, len(places) + 1)) / w.sum())
    labels, black_box = group // per_class, group // per_class
    labels = np.where(random.random(count) < 0.03, random.integers(0, 3, count), labels)
    black_box = np.where(random.random(count) < 0.1, random.integers(0, 3, count), black_box)
    z = places[group] + random.normal(size=(count, dimensions))
    return Embeddings(z.astype(np.float32), labels, black_box)


def shards(folder: Path, data: Embeddings, part_rows: int = 700) -> ShardedEmbedding:
    writer = ShardWriter(folder, data.z.shape[1], NAMES, part_rows=part_rows)
    writer.add(data.z, data.labels, data.black_box)
    return writer.finish()


@pytest.fixture(scope="module")
def train() -> Embeddings:
    return groups(4000)


@pytest.fixture(scope="module")
def test() -> Embeddings:
    return groups(1500, seed=1)


@pytest.mark.parametrize("name", ["euclidean", "whitened"])
def test_a_sweep_of_parts_is_that_of_the_whole(name: str, train: Embeddings, test: Embeddings, tmp_path: Path) -> None:
    metric = fit_metric(name, train.z, train.labels)
    whole = swept(train, test, NAMES, metric, 6, 3, "cpu", silent)
    found = sharded_sweep(
        shards(tmp_path / "train", train), metric, range(1, 7), 3, Local(), MUCH, shards(tmp_path / "test", test)
    )
    assert np.array_equal(found.per_class, whole.counts)
    # whitened rows differ in their last digits, as products of matrices of other sizes do
    assert np.allclose(found.accuracy, whole.accuracy, atol=2 / len(test))
    assert np.allclose(found.agreement, whole.agreement, atol=2 / len(test))
    assert np.allclose(found.inertia, whole.inertia, rtol=1e-4)
    for figure in ("ghosting", "diversity", "effective", "effective_equidistant"):
        assert np.allclose(getattr(found, figure), getattr(whole, figure), rtol=1e-4, equal_nan=True), figure
    assert np.allclose(found.effective_random, whole.effective_random, rtol=1e-4)
    assert np.allclose(found.coverage_radius, whole.coverage_radius, rtol=2e-3)
    assert found.accuracy_black_box == metrics.accuracy(test.black_box, test.labels)
    assert (found.measured, found.held_out) == (1500, True)
    assert not found.loss.any()
    # the rows that describe the prototypes of one number
    centers, classes, counts, exemplars = found.at(4)
    described = nearest_prototypes(train.in_space(metric), NAMES, centers, classes)
    assert np.array_equal(counts, described.count)
    assert np.array_equal(exemplars, described.nearest[:, :9])
    if name == "euclidean":
        assert np.array_equal(found.variance, metrics.class_variance(train.z, train.labels, 3))


def test_without_held_out_rows_its_own_are_measured(train: Embeddings, tmp_path: Path) -> None:
    embedding = shards(tmp_path, train)
    assert stored_sweep(embedding) is None
    found = sharded_sweep(embedding, EmbeddingMetric(), [2, 5], 0, Local(), MUCH)
    centers, classes, *_ = found.at(5)
    far = np.linalg.norm(train.z[:, None] - centers, axis=2)
    assert found.accuracy[1] == np.mean(classes[far.argmin(1)] == train.labels)
    assert found.coverage_radius[1] == pytest.approx(np.quantile(far.min(1), 0.95), rel=2e-3)
    assert (found.measured, found.held_out, list(found.ks)) == (4000, False, [2, 5])
    with pytest.raises(KeyError):
        found.at(3)
    stored = stored_sweep(embedding)
    assert stored is not None
    assert np.array_equal(stored.centers, found.centers)
    assert not list(embedding.results.glob("work-*"))


def test_what_is_done_is_not_done_again(train: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stops in the middle of the pass goes on there."""
    embedding = shards(tmp_path, train)
    calls = {"clusterings": 0}
    real = __import__("kmex_core.prototypes.kmeans", fromlist=["x"]).clusterings

    def counting(*arguments: object) -> object:
        calls["clusterings"] += 1
        return real(*arguments)

    monkeypatch.setattr("kmex_core.prototypes.kmeans.clusterings", counting)

    class Stop(Exception):
        pass

    def stop(event: object) -> None:
        if "Assigning" in str(event) and "done=2" in str(event):
            raise Stop

    with pytest.raises(Stop):
        sharded_sweep(embedding, EmbeddingMetric(), [1, 2], 0, Local(), MUCH, progress=stop)
    before = {path: path.stat().st_mtime_ns for path in embedding.results.rglob("*.safetensors")}
    assert sorted(path.name[:4] for path in before) == ["clas"] * 3 + ["rows"] * 2
    damaged = next(path for path in before if path.name.startswith("rows"))
    damaged.write_bytes(damaged.read_bytes()[:-3])
    seen: list[int] = []

    def look(event: object) -> None:
        seen.extend(
            path.stat().st_mtime_ns == when for path, when in before.items() if path.exists() and path != damaged
        )

    found = sharded_sweep(embedding, EmbeddingMetric(), [1, 2], 0, Local(), MUCH, progress=look)
    assert calls["clusterings"] == 3
    assert seen
    assert all(seen)
    assert np.array_equal(
        found.centers, sharded_sweep(shards(tmp_path / "b", train), EmbeddingMetric(), [1, 2], 0, Local(), MUCH).centers
    )


def test_a_coreset_loses_little_and_says_how_much(tmp_path: Path) -> None:
    data = groups(60_000, seed=2)
    embedding, ks = shards(tmp_path, data, 8192), (1, 3, 6)
    clustering = Clustering(embedding.folder, EmbeddingMetric(), 0)
    for label in range(2):
        item = ClassItem(label, ks)
        whole = unpacked(whole_class(clustering, item))
        coarse = coreset_clusters(embedding, clustering, item, Local(), tmp_path / "coreset")
        assert (whole.coreset, coarse.coreset) == (0, 8192)
        assert coarse.variance == pytest.approx(whole.variance, rel=1e-6)
        assert (coarse.inertia <= 1.01 * whole.inertia).all()
        assert (coarse.loss >= 0).all()
        assert (coarse.loss < 0.02).all()
        assert coarse.loss[0] > 0  # the mean of a coreset is not that of the class
        # the exact inertia, by its definition
        z = data.z[data.labels == label]
        for centers, inertia in zip(coarse.centers, coarse.inertia, strict=True):
            far = ((z[:, None] - centers) ** 2).sum(2).min(1).sum(dtype=np.float64)
            assert inertia == pytest.approx(far, rel=1e-4)
    # what they were made from is gone, and they are read when they are needed again
    assert sorted(path.name for path in (tmp_path / "coreset").iterdir()) == [
        "class-000000.safetensors",
        "class-000001.safetensors",
    ]
    again = coreset_clusters(embedding, clustering, item, Local(), tmp_path / "coreset")
    assert np.array_equal(again.centers[2], coarse.centers[2])


def test_classes_that_exceed_memory_are_clustered_by_a_coreset(
    train: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kmex_core.scale.coreset.SIZE", 500)
    embedding = shards(tmp_path, train)
    memory = int(np.sort(embedding.counts)[1]) * 8 * 4 * COPIES  # enough for all but the largest class
    found = sharded_sweep(embedding, EmbeddingMetric(), [2, 4], 0, Local(), memory)
    exact = sharded_sweep(embedding, EmbeddingMetric(), [2, 4], 0, Local(), MUCH)
    assert (found.coreset > 0).tolist() == (embedding.counts == embedding.counts.max()).tolist()
    assert np.allclose(found.inertia, exact.inertia, rtol=0.01)
    small = found.coreset == 0
    assert np.array_equal(found.inertia[:, small], exact.inertia[:, small])


def test_a_class_without_rows_is_named(train: Embeddings, tmp_path: Path) -> None:
    rows = train.labels != 1
    data = Embeddings(train.z[rows], train.labels[rows], train.black_box[rows])
    with pytest.raises(InputError, match="Classes without any: 'b'"):
        sharded_sweep(shards(tmp_path, data), EmbeddingMetric(), [2], 0, Local(), MUCH)


@pytest.mark.parametrize("name", ["euclidean", "whitened", "cosine"])
def test_a_sweep_keeps_its_metric(name: str, train: Embeddings, tmp_path: Path) -> None:
    metric = fit_metric(name, train.z, train.labels)
    embedding = shards(tmp_path, train)
    sharded_sweep(embedding, metric, [1, 3], 0, Local(), MUCH)
    stored = stored_sweep(embedding)
    assert stored is not None
    assert stored.space is not None
    assert (stored.space.name, stored.space.length, stored.space.shrinkage) == (name, metric.length, metric.shrinkage)
    assert np.array_equal(stored.space.matrix, metric.matrix)
    # one prototype per class is the mean of its class; of unit vectors, scaled to the mean length
    centers, *_ = stored.at(1)
    points = metric(train.z)
    scale = metric.length if name == "cosine" else 1.0
    for label in range(3):
        mean = points[train.labels == label].mean(0, dtype=np.float64) * scale
        expected = np.linalg.lstsq(metric.matrix.T, mean, rcond=None)[0] if name == "whitened" else mean
        assert np.allclose(stored.space.back(centers)[label], expected, atol=1e-4)
    # of other rows in the same folder, it is not shown
    assert stored_sweep(dataclasses.replace(embedding, class_names=("x", "y", "z"))) is None


def test_a_sweep_of_an_earlier_version_is_read_and_gets_its_metric(
    train: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = fit_metric("whitened", train.z, train.labels)
    embedding = shards(tmp_path, train)
    whole = sharded_sweep(embedding, metric, [1, 3], 0, Local(), MUCH)
    (path,) = embedding.results.glob("sweep-*")
    arrays, description = read_file(path)
    for name in ("shrinkage", "length", "embedding"):
        del description[name]
    del arrays["matrix"]
    write_file(path, arrays, description)
    before = stored_sweep(embedding)
    assert before is not None
    assert (before.space, before.metric) == (None, "whitened")
    assert np.array_equal(before.centers, whole.centers)

    def found_again(*_: object) -> None:
        raise AssertionError("prototypes are found again")

    monkeypatch.setattr("kmex_core.scale.sweep.clustered", found_again)
    monkeypatch.setenv("KMEX_READ_ONLY", "1")
    assert sharded_sweep(embedding, metric, [1, 3], 0, Local(), MUCH).space is not None
    unchanged = stored_sweep(embedding)
    assert unchanged is not None
    assert unchanged.space is None
    monkeypatch.delenv("KMEX_READ_ONLY")
    sharded_sweep(embedding, metric, [1, 3], 0, Local(), MUCH)
    after = stored_sweep(embedding)
    assert after is not None
    assert after.space is not None
    assert np.array_equal(after.space.matrix, metric.matrix)
    assert after.to_description() == whole.to_description()
