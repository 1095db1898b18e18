"""Figures of sharded embeddings, from sums over their parts, against those of the same embedding in one piece."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from kmex_core import metrics
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Event
from kmex_core.networks.types import NO_CLASS, Embeddings
from kmex_core.prototypes.fit import fit_prototypes, nearest_prototypes
from kmex_core.prototypes.metric import EmbeddingMetric, fit_metric
from kmex_core.prototypes.temperature import halves_of
from kmex_core.prototypes.types import Conversion
from kmex_core.scale import measuring
from kmex_core.scale.assignment import Rows
from kmex_core.scale.chance import rows_of_class
from kmex_core.scale.engine import Local
from kmex_core.scale.figures import Figures, Measurement
from kmex_core.scale.held_out import Halves
from kmex_core.scale.measuring import PUBLISHED
from kmex_core.scale.sharded import ShardedEmbedding, ShardWriter
from kmex_core.stages.conversion import by_kmeans

NAMES = ("a", "b", "c")
MUCH = 10**12
K = 4


def groups(count: int, seed: int, dimensions: int = 8, per_class: int = 5) -> Embeddings:
    """Classes of several groups each, some rows with another class's label."""
    random = np.random.default_rng(seed)
    places = np.random.default_rng(7).normal(size=(len(NAMES) * per_class, dimensions)) * 2
    group = random.choice(len(places), count, p=(w := np.arange(1, len(places) + 1)) / w.sum())
    labels, black_box = group // per_class, group // per_class
    labels = np.where(random.random(count) < 0.1, random.integers(0, 3, count), labels)
    black_box = np.where(random.random(count) < 0.1, random.integers(0, 3, count), black_box)
    z = places[group] + random.normal(size=(count, dimensions))
    return Embeddings(z.astype(np.float32), labels, black_box)


def shards(folder: Path, data: Embeddings, part_rows: int = 700) -> ShardedEmbedding:
    writer = ShardWriter(folder, data.z.shape[1], NAMES, part_rows=part_rows)
    writer.add(data.z, data.labels, data.black_box)
    return writer.finish()


TRAIN, TEST, VALIDATION = groups(4000, 0), groups(3001, 1), groups(900, 2)


def in_one_piece(
    metric: EmbeddingMetric, test: Embeddings, validation: Embeddings | None, found: Conversion | Figures
) -> Conversion:
    """The same prototypes described and measured in one piece; they are those of k-means, but for the last digits."""
    space = TRAIN.in_space(metric)
    expected = fit_prototypes(space, NAMES, K, 3)
    np.testing.assert_allclose(found.prototypes.centers, expected.centers, rtol=1e-4, atol=1e-5)
    # published diversity is made of rounding errors: of the same bits
    prototypes = nearest_prototypes(space, NAMES, found.prototypes.centers, expected.classes)
    return by_kmeans(space, test, validation, prototypes, 3, metric, "cpu", time.perf_counter())


def close(found: Conversion | Figures, expected: Conversion, rel: float) -> None:
    """Counts are equal, sums are close."""
    one, other = asdict(found.summary), asdict(expected.summary)
    exact = ("images", "accuracy_black_box", "accuracy_kmex", "agreement", "ghosting", "metric")
    for name in exact:
        assert one[name] == other[name], name
    for name in one.keys() - set(exact):
        assert one[name] == pytest.approx(other[name], rel=rel), name
    for name in ("classes", "count", "importance", "count_all", "nearest", "nearest_any", "class_size"):
        assert np.array_equal(getattr(found.prototypes, name), getattr(expected.prototypes, name)), name
    for name in ("centers", "nearest_distance", "distance_quantiles"):
        np.testing.assert_allclose(getattr(found.prototypes, name), getattr(expected.prototypes, name), rtol=rel)
    assert (found.temperature.images, found.temperature.validation) == (
        expected.temperature.images,
        expected.temperature.validation,
    )
    values = (found.temperature.value, *found.temperature.halves)
    assert values == pytest.approx((expected.temperature.value, *expected.temperature.halves), rel=rel)


@pytest.mark.parametrize("name", ["euclidean", "whitened"])
def test_figures_of_parts_are_those_of_one_piece(name: str, tmp_path: Path) -> None:
    metric = fit_metric(name, TRAIN.z, TRAIN.labels)
    of = Measurement(
        shards(tmp_path / "train", TRAIN), metric, [K] * 3, 3, Local(), MUCH, shards(tmp_path / "test", TEST)
    )
    found = of.conversion()
    expected = in_one_piece(metric, TEST, None, found)
    rel = 1e-6 if name == "euclidean" else 1e-4  # whitened rows differ in their last digits
    close(found, expected, rel)
    for field in ("train_predicted", "test_predicted", "test_activated", "test_black_box", "test_likeliest"):
        assert np.array_equal(getattr(found, field), getattr(expected, field)), field
        assert getattr(found, field).dtype == getattr(expected, field).dtype, field
    np.testing.assert_allclose(found.test_confidence, expected.test_confidence, rtol=10 * rel)
    assert np.array_equal(found.prototypes.activated, expected.prototypes.activated)
    # the figures alone: read from the file that the conversion wrote, and computed anew
    stored = of.figures()
    of.path.unlink()
    again = of.figures()
    for figures in (stored, again):
        close(figures, expected, rel)
        confused = metrics.confusion(expected.test_predicted, TEST.labels, 3)
        assert np.array_equal(figures.held_out.confusion(3), confused)
        assert figures.train.accuracy(3) == metrics.accuracy(expected.train_predicted, TRAIN.labels)
        variance = metrics.class_variance(metric(TRAIN.z), TRAIN.labels, 3)
        np.testing.assert_allclose(figures.variance, variance, rtol=rel)
        own = figures.prototypes.classes == TRAIN.labels[:, None]
        far = ((metric(TRAIN.z)[:, None] - figures.prototypes.centers) ** 2).sum(2, where=own[..., None])
        assert figures.inertia.sum() == pytest.approx(np.where(own, far, np.inf).min(1).sum(), rel=1e-4)
        assert len(figures.prototypes.activated) == 0
    assert not list(of.train.results.glob("work-*"))


def test_a_validation_split_fits_the_temperature(tmp_path: Path) -> None:
    of = Measurement(
        shards(tmp_path / "train", TRAIN),
        EmbeddingMetric(),
        [K] * 3,
        3,
        Local(),
        MUCH,
        shards(tmp_path / "test", TEST),
        shards(tmp_path / "validation", VALIDATION),
    )
    found = of.figures()
    close(found, in_one_piece(EmbeddingMetric(), TEST, VALIDATION, found), 1e-6)


def test_without_a_black_box_and_without_held_out_rows(tmp_path: Path) -> None:
    bare = Embeddings(TRAIN.z, TRAIN.labels, np.full(len(TRAIN), NO_CLASS))
    found = Measurement(shards(tmp_path, bare), EmbeddingMetric(), [K] * 3, 3, Local(), MUCH).figures()
    close(found, in_one_piece(EmbeddingMetric(), bare, None, found), 1e-6)
    assert found.summary.agreement is None
    assert (found.apart, found.head) == (False, False)


def test_the_probability_as_published_is_a_softmax_over_all_prototypes(tmp_path: Path) -> None:
    embedding = shards(tmp_path, TRAIN)
    found = Measurement(embedding, EmbeddingMetric(), [K] * 3, 3, Local(), MUCH).figures()
    squared = ((TRAIN.z[:, None].astype(np.float64) - found.prototypes.centers) ** 2).sum(2)
    similarity = np.log((squared + 1) / (squared + 1e-4))
    share = np.exp(similarity) / np.exp(similarity).sum(1, keepdims=True)
    predicted = found.prototypes.classes[squared.argmin(1)]
    confidence = (share * (found.prototypes.classes == predicted[:, None])).sum(1)
    expected = metrics.expected_calibration_error(confidence, predicted == TRAIN.labels)
    assert found.held_out.reliability(PUBLISHED).error == pytest.approx(expected, rel=1e-4)


def test_halves_of_many_rows_alternate_within_each_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = shards(tmp_path / "test", TEST)
    drawn = Halves.of(embedding, Local())
    monkeypatch.setattr("kmex_core.scale.held_out.DRAWN", 100)
    alternating = Halves.of(embedding, Local())
    expected = np.empty(len(TEST), np.int64)
    for label in range(3):
        rows = np.flatnonzero(TEST.labels == label)
        expected[rows] = (np.arange(len(rows)) + label) % 2
    for halves, of_rows in ((drawn, halves_of(TEST.labels)), (alternating, expected)):
        parts = [
            halves.of_part(embedding, number, TEST.labels[part.first : part.first + part.rows])
            for number, part in enumerate(embedding.parts)
        ]
        assert np.array_equal(np.concatenate(parts), of_rows)
        assert halves.counts(embedding)[1].tolist() == [int(part.sum()) for part in parts]
        assert halves.counts(embedding).sum() == len(TEST)
    # another draw of halves hardly matters: the tolerance that docs/how-to/run-on-a-cluster.md states
    train = shards(tmp_path / "train", TRAIN)
    found = Measurement(train, EmbeddingMetric(), [K] * 3, 3, Local(), MUCH, embedding).figures()
    whole = in_one_piece(EmbeddingMetric(), TEST, None, found)
    assert found.temperature.value == pytest.approx(whole.temperature.value, rel=1e-6)
    assert found.temperature.halves == pytest.approx(whole.temperature.halves, rel=0.2)
    assert found.summary.calibration_error == pytest.approx(whole.summary.calibration_error, abs=0.01)


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = shards(tmp_path / "train", TRAIN), shards(tmp_path / "test", TEST)
    done: list[str] = []
    real = measuring._measured_part

    def noted(shared: measuring.Measuring, item: Rows) -> Arrays:
        done.append(f"{shared.folder.name} {item.first}")
        return real(shared, item)

    monkeypatch.setattr(measuring, "_measured_part", noted)

    class Stop(Exception):
        pass

    def stop(event: Event) -> None:
        if event.stage == "Measuring predictions" and event.done == 2:
            raise Stop

    of = Measurement(train, EmbeddingMetric(), [K] * 3, 3, Local(), MUCH, test)
    with pytest.raises(Stop):
        replace(of, progress=stop).figures()
    before = len(done)
    found = of.figures()
    assert done[before:] == [f"test {number}" for number in range(2, len(test.parts))]
    assert len(done) == len(set(done)) == len(train.parts) + len(test.parts)
    other = Measurement(shards(tmp_path / "copy", TRAIN), EmbeddingMetric(), [K] * 3, 3, Local(), MUCH, test).figures()
    assert found.summary == other.summary


def test_rows_of_a_class_are_read_by_their_places(tmp_path: Path) -> None:
    embedding = shards(tmp_path, TRAIN)
    rows = np.flatnonzero(TRAIN.labels == 1)
    places = np.array([0, 3, len(rows) // 2, len(rows) - 1])
    found = rows_of_class(embedding, 1, places)
    assert found.index.tolist() == rows[places].tolist()
    assert np.array_equal(found.z, TRAIN.z[rows[places]])
    assert np.array_equal(
        np.concatenate([embedding.labels(part) for part in range(len(embedding.parts))]), TRAIN.labels
    )
