"""Prototypes for every number per class against slow loops, and against the conversion for each number."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances_argmin

from kmex_core.analysis.bands import interval_over_seeds
from kmex_core.base.errors import InputError
from kmex_core.base.phrases import ranges
from kmex_core.base.progress import Event, silent
from kmex_core.base.store import Store
from kmex_core.models.info import ModelInfo
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes import kmeans
from kmex_core.prototypes import sweep as module
from kmex_core.prototypes.fit import fit_prototypes, nearest_prototypes
from kmex_core.prototypes.metric import EUCLIDEAN, OPTIONS, EmbeddingMetric, fit_metric
from kmex_core.prototypes.source import SUGGESTED, KMeans
from kmex_core.prototypes.sweep import (
    NONE,
    Sweep,
    activating,
    class_exemplars,
    cluster_centers,
    lineage,
    nearest_of_each,
    random_predictions,
    reach_of,
    sweep_reach,
)
from kmex_core.stages.conversion import by_kmeans
from kmex_core.stages.subject import Subject, dataset_of
from kmex_core.stages.suggestion import ModelSuggestion
from kmex_core.stages.sweep import swept

NAMES = ("ant", "bee", "cat")


def made_up(sizes: tuple[int, ...] = (30, 20, 6), d: int = 4, seed: int = 0, spread: float = 1.5) -> Embeddings:
    """Overlapping classes, and a black box that is mostly right."""
    random = np.random.default_rng(seed)
    middle = spread * np.random.default_rng(99).normal(size=(len(sizes), d))
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    z = (middle[labels] + random.normal(size=(len(labels), d))).astype(np.float32)
    black_box = np.where(random.random(len(labels)) < 0.8, labels, random.integers(0, len(sizes), len(labels)))
    return Embeddings(z, labels, black_box)


TRAIN, TEST = made_up(), made_up((25, 25, 25), seed=1)


def sweep(
    train: Embeddings = TRAIN,
    test: Embeddings = TEST,
    reach: int = 8,
    seed: int = 3,
    metric: EmbeddingMetric | None = None,
) -> Sweep:
    names = [str(label) for label in range(int(train.labels.max()) + 1)]
    return swept(train, test, names, metric or EmbeddingMetric(EUCLIDEAN), reach, seed, "cpu", silent)


# ---- the parts ------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 7), min_size=1, max_size=5), st.sampled_from([0, 1, 1e3, 1e5]))
def test_the_nearest_of_each_set_is_that_of_a_loop_in_double_precision(
    seed: int, sizes: list[int], mean: float
) -> None:
    random = np.random.default_rng(seed)
    z = (random.normal(size=(40, 6)) + mean).astype(np.float32)
    sets = [(random.normal(size=(size, 6)) + mean).astype(np.float32) for size in sizes]
    found = nearest_of_each(torch.from_numpy(z), sets)
    for places, which in zip(sets, found, strict=True):
        apart = ((z[:, None].astype(float) - places.astype(float)) ** 2).sum(2)
        # differences in single precision are as exact as the embedding itself
        assert (apart[np.arange(40), which] <= apart.min(1) * (1 + 1e-5)).all()


def test_of_equally_near_prototypes_the_first_is_taken_however_large_the_mean() -> None:
    places = np.array([[1, 0], [-1, 0], [0, 1], [0, 1]], np.float32)
    z = torch.tensor([[0.0, 0], [0, 1], [0, -1], [-1, -1], [-0.5, 0.5]])
    for mean in (0, 1000, 2**20):
        shifted = [(places[rows] + mean).astype(np.float32) for rows in ([0, 1, 2, 3], [3, 1, 0], [2])]
        found = nearest_of_each(z + mean, shifted)
        assert found.tolist() == [[0, 2, 0, 1, 1], [0, 0, 1, 1, 0], [0] * 5]


def test_rounding_decides_no_assignment() -> None:
    # two prototypes that a product of single precision cannot tell apart beside a third, far one
    random = np.random.default_rng(0)
    z = (300 + random.normal(size=(2000, 32))).astype(np.float32)
    places = np.stack([z[0], z[0] + np.float32(2e-3), np.full(32, 1e4, np.float32)])
    (found,) = nearest_of_each(torch.from_numpy(z), [places])
    apart = ((z[:, None].astype(float) - places.astype(float)) ** 2).sum(2)
    clear = np.abs(apart[:, 0] - apart[:, 1]) > 1e-5 * apart[:, 0]
    assert clear.sum() > 1500
    np.testing.assert_array_equal(found[clear], apart.argmin(1)[clear])


def test_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    z, sets = torch.from_numpy(TEST.z), [TRAIN.z[:5], TRAIN.z[7:8], TRAIN.z[10:20]]
    whole = nearest_of_each(z, sets)
    monkeypatch.setitem(kmeans.CELLS, "cpu", 100)
    np.testing.assert_array_equal(nearest_of_each(z, sets), whole)
    np.testing.assert_array_equal(whole[0], pairwise_distances_argmin(TEST.z, TRAIN.z[:5]))


def test_a_prototype_descends_from_the_one_that_most_of_its_images_belonged_to() -> None:
    found = sweep()
    for step in range(found.reach):
        for label in range(3):
            for number in range(found.reach):
                of = (TRAIN.labels == label) & (found.cluster[step] == number)
                expected = NONE
                if step and of.any():
                    before = found.cluster[step - 1][of].tolist()
                    expected = max(range(step), key=lambda one: (before.count(one), -one))
                assert found.parent[step, label, number] == expected
    # of two with equally many images, the larger
    cluster, labels = np.array([[0] * 4, [0, 0, 1, 1], [0, 1, 2, 1]], np.uint8), np.zeros(4, int)
    assert lineage(cluster, labels, np.array([[1], [2], [3]]))[:, 0].tolist() == [[-1] * 3, [0, 0, -1], [0, 0, 1]]


def test_centers_of_clusters_are_the_means_of_their_images() -> None:
    found = sweep()
    z, labels = torch.from_numpy(TRAIN.z + 1000), torch.from_numpy(TRAIN.labels)
    for step, counts in enumerate(found.counts):
        centers, classes = cluster_centers(z, labels, found.cluster[step], counts)
        assert classes.tolist() == np.repeat([0, 1, 2], counts).tolist()
        expected = [
            (TRAIN.z + 1000)[(TRAIN.labels == label) & (found.cluster[step] == number)].astype(float).mean(0)
            for label in range(3)
            for number in range(counts[label])
        ]
        np.testing.assert_allclose(centers, expected, rtol=1e-6)


def test_the_exemplar_of_a_prototype_is_its_image_nearest_to_it() -> None:
    found, rows = sweep(), np.flatnonzero(TRAIN.labels == 1)
    z, clusters = TRAIN.z[rows].astype(float), found.cluster[:, rows]
    exemplars = class_exemplars(TRAIN.z[rows], clusters, found.counts[:, 1])
    assert exemplars.shape == (8, 8)
    for step in range(8):
        for number in range(8):
            members = [i for i in range(len(rows)) if clusters[step, i] == number]
            if not members:
                assert exemplars[step, number] == NONE
                continue
            middle = np.mean([z[i] for i in members], 0)
            apart = [float(np.linalg.norm(each - middle)) for each in z]  # two may be as near
            assert np.isclose(apart[exemplars[step, number]], min(apart))


def test_random_images_as_prototypes_predict_what_a_loop_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 3]])
    z, train = torch.from_numpy(TEST.z + 50), torch.from_numpy(TRAIN.z + 50)
    found, _ = random_predictions(z, train, TRAIN.labels, counts, np.random.default_rng(5), 2)
    random = np.random.default_rng(5)
    drawn = [random.permutation(np.flatnonzero(TRAIN.labels == label)) for label in range(3)]
    assert found.shape == (4, 75)
    for step, per_class in enumerate(counts):
        images = np.concatenate([drawn[label][: per_class[label]] for label in range(3)])
        expected = TRAIN.labels[images][pairwise_distances_argmin(TEST.z.astype(float), TRAIN.z[images].astype(float))]
        np.testing.assert_array_equal(found[step], expected)
    monkeypatch.setitem(kmeans.CELLS, "cpu", 50)
    (again,) = random_predictions(z, train, TRAIN.labels, counts, np.random.default_rng(5), 1)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("asked", [1, 16])
def test_ghosts_are_those_that_no_image_of_their_class_has_nearest(asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASKED", asked)
    # classes on top of one another: the other class takes what some prototypes have
    train = made_up((40, 60, 20), spread=0.3, d=2)
    z = torch.from_numpy(train.z)
    rows = [train.labels == label for label in range(3)]
    cluster, counts, places = np.zeros((9, 120), np.uint8), np.zeros((9, 3), np.int64), []
    for step in range(9):
        found = [kmeans.kmeans(z[of_class], step + 1, 0) for of_class in rows]
        for label, (of_class, clusters) in enumerate(zip(rows, found, strict=True)):
            cluster[step, of_class], counts[step, label] = clusters.labels.numpy(), step + 1
        places.append(torch.cat([clusters.centers for clusters in found]).numpy())
        places[-1][0] += 3 * (step % 2)  # a prototype far from its cluster
    ghosts = 0
    for active, place, of_class in zip(
        activating(z, train.labels, cluster, counts, places), places, counts, strict=True
    ):
        classes, nearest = np.repeat([0, 1, 2], of_class), pairwise_distances_argmin(train.z, place)
        own = classes[nearest] == train.labels
        assert active.tolist() == [bool((nearest[own] == p).any()) for p in range(len(place))]
        ghosts += int((~active).sum())
    assert ghosts > 0


@pytest.mark.parametrize(("k", "reach"), [(SUGGESTED, 20), (1, 20), (20, 20), (21, 50), (50, 50), (51, None)])
def test_the_sweep_that_has_a_number(k: int, reach: int | None) -> None:
    assert reach_of(k) == reach
    if reach is None:
        with pytest.raises(InputError, match="Expected at most 50 prototypes per class, got 51"):
            sweep_reach([1, k])
    else:
        assert sweep_reach([1, k]) == reach


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([], []),
        ([3], ["3"]),
        ([1, 2], ["1 to 2"]),
        ([1, 2, 3, 7, 9, 10], ["1 to 3", "7", "9 to 10"]),
        ([2, 4], ["2", "4"]),
    ],
)
def test_numbers_that_follow_one_another_are_named_together(numbers: list[int], words: list[str]) -> None:
    assert ranges(numbers) == words


def test_an_interval_over_seeds_is_that_of_the_mean_widened_to_every_seed() -> None:
    low, high = interval_over_seeds(np.array([[0.5, 0.2, 0.0], [0.5, 0.8, 0.0]]), 100)
    # Wilson's for 50 of 100, by hand: (0.5 + z²/200 ± z √(0.0025 + z²/40000)) / (1 + z²/100)
    assert (low[0], high[0]) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert (low[1], high[1]) == (0.2, 0.8)
    assert (low[2], high[2]) == pytest.approx((0, 0.03699), abs=1e-5)


# ---- the whole sweep ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [option for option in OPTIONS if option != "auto"])
def test_each_number_measures_what_its_conversion_does(name: str) -> None:
    metric = fit_metric(name, TRAIN.z, TRAIN.labels)
    found, space = sweep(metric=metric), TRAIN.in_space(metric)
    assert (found.reach, found.images, found.metric) == (8, 75, name)
    assert found.accuracy_black_box == np.mean(TEST.black_box == TEST.labels)
    z, labels = torch.from_numpy(space.z), torch.from_numpy(space.labels)
    for step, counts in enumerate(found.counts):
        assert counts.tolist() == [step + 1, step + 1, min(step + 1, 6)]
        places = cluster_centers(z, labels, found.cluster[step], counts)
        said = by_kmeans(space, TEST, None, nearest_prototypes(space, NAMES, *places), 3, metric, "cpu", 0.0).summary
        assert found.accuracy[step] == said.accuracy_kmex
        assert found.agreement[step] == said.agreement
        assert found.ghosting[step] == said.ghosting
        by_chance = [said.effective_random, said.effective_random_low, said.effective_random_high]
        for value, expected in (
            (found.diversity[step], np.nan if said.diversity is None else said.diversity),
            (found.effective[step], said.effective),
            (found.effective_random[step], by_chance),
            (found.effective_equidistant[step], said.effective_equidistant),
            (found.coverage_radius[step], said.coverage_radius),
        ):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)  # type: ignore[arg-type]


def test_inertia_is_that_of_the_images_around_the_means_of_their_clusters() -> None:
    found = sweep()
    for step in range(8):
        for label in range(3):
            of_class, clusters = (
                TRAIN.z[TRAIN.labels == label].astype(float),
                found.cluster[step][TRAIN.labels == label],
            )
            expected = sum(
                ((of_class[clusters == c] - of_class[clusters == c].mean(0)) ** 2).sum() for c in set(clusters)
            )
            assert found.inertia[step, label] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert (np.diff(found.inertia, axis=0) <= 1e-4).all()
    sizes = [np.bincount(found.cluster[step][TRAIN.labels == 0]) for step in range(8)]
    assert all((np.diff(of) <= 0).all() for of in sizes), "the largest cluster comes first"


def test_the_chance_level_is_that_of_random_images() -> None:
    found, random = sweep(), np.random.default_rng(123)
    right, same = [], []
    for _ in range(200):
        drawn = [random.permutation(np.flatnonzero(TRAIN.labels == label))[:5] for label in range(3)]
        images = np.concatenate(drawn)
        predicted = TRAIN.labels[images][pairwise_distances_argmin(TEST.z, TRAIN.z[images])]
        right.append(np.mean(predicted == TEST.labels))
        same.append(np.mean(predicted == TEST.black_box))
    for draws, level in ((right, found.random_accuracy[4]), (same, found.random_agreement[4])):
        mean, low, high = level.tolist()
        assert mean == pytest.approx(np.mean(draws), abs=4 * np.std(draws) * np.sqrt(1 / 20 + 1 / 200))
        assert min(draws) <= low < np.mean(draws) < high <= max(draws)
    for level in (found.random_accuracy, found.random_agreement):
        assert (level[:, 1] <= level[:, 0]).all()
        assert (level[:, 0] <= level[:, 2]).all()
    everything = sweep(made_up((4, 4, 4)), reach=6)  # all images of every class: nothing is left to chance
    np.testing.assert_allclose(everything.random_accuracy[3:].std(1), 0, atol=1e-12)


def test_a_longer_sweep_begins_like_a_shorter_one() -> None:
    train = made_up((60, 30, 12))
    short, long = sweep(train, reach=20), sweep(train, reach=50)
    np.testing.assert_array_equal(long.cluster[:20], short.cluster)
    np.testing.assert_array_equal(long.counts[:20], short.counts)
    np.testing.assert_array_equal(long.parent[:20, :, :20], short.parent)
    for name in ("inertia", "accuracy", "agreement", "ghosting", "diversity", "effective", "coverage_radius"):
        np.testing.assert_allclose(getattr(long, name)[:20], getattr(short, name), rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(long.effective_random[:20], short.effective_random, rtol=1e-6)


def test_equal_seeds_give_equal_sweeps_and_it_is_stored_as_it_is() -> None:
    one, other, another = sweep(), sweep(), sweep(seed=4)
    again = Sweep.from_arrays(one.to_arrays(), **one.to_description())
    for field in dataclasses.fields(Sweep):
        if field.name != "seconds":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)
        np.testing.assert_array_equal(getattr(one, field.name), getattr(again, field.name), field.name)
    assert not np.array_equal(one.cluster, another.cluster)


def test_progress_ends_where_it_says() -> None:
    seen: dict[str, Event] = {}
    swept(TRAIN, TEST, NAMES, EmbeddingMetric(EUCLIDEAN), 2, 0, "cpu", lambda event: seen.update({event.stage: event}))
    assert len(seen) == 2
    assert all(event.done == event.total for event in seen.values())


def test_classes_without_images_are_named() -> None:
    with pytest.raises(InputError, match="Classes without images: 'bee'"):
        swept(made_up((5, 0, 5)), TEST, NAMES, EmbeddingMetric(EUCLIDEAN), 3, 0, "cpu", silent)


# ---- numbers for each class -----------------------------------------------------------------------------------------


def test_each_class_can_have_a_number_of_its_own() -> None:
    made = fit_prototypes(TRAIN, NAMES, [1, 4, 20], seed=3)
    assert np.bincount(made.classes).tolist() == [1, 4, 6]
    for label, k in enumerate((1, 4, 20)):
        alone = fit_prototypes(TRAIN, NAMES, k, seed=3)
        np.testing.assert_array_equal(made.centers[made.classes == label], alone.centers[alone.classes == label])
    for wrong in ([1, 2], [1, 0, 3], [1, 2, 3, 4]):
        with pytest.raises(InputError, match="at least 1 prototype for each of 3 classes"):
            fit_prototypes(TRAIN, NAMES, wrong)


def test_a_choice_of_numbers_takes_each_class_from_its_step() -> None:
    found, ks = sweep(), np.array([1, 4, 8])
    cluster, counts = found.chosen(ks, TRAIN.labels)
    assert counts.tolist() == [1, 4, 6]
    for label, k in enumerate(ks):
        of_class = TRAIN.labels == label
        np.testing.assert_array_equal(cluster[of_class], found.cluster[k - 1][of_class])


# ---- in the store ---------------------------------------------------------------------------------------------------


def test_a_sweep_has_what_every_conversion_has(demo: Store, digits: ModelInfo) -> None:
    subject = Subject(demo, digits, dataset_of(digits))
    found = subject.sweep(KMeans(SUGGESTED)).get()
    assert (found.reach, found.images, found.counts.shape) == (20, 500, (20, 10))
    assert subject.sweep(KMeans(7)).key == subject.sweep(KMeans(SUGGESTED)).key
    assert subject.sweep(KMeans(7)).key != subject.sweep(KMeans(7, 1)).key
    assert subject.sweep(KMeans(7)).key != subject.sweep(KMeans(7), 50).key
    for k in (1, 5, 13):
        converted = subject.conversion(KMeans(k)).get()
        made = converted.summary
        assert found.accuracy[k - 1] == made.accuracy_kmex
        assert found.agreement[k - 1] == made.agreement
        assert found.ghosting[k - 1] == made.ghosting
        assert found.effective[k - 1] == pytest.approx(made.effective, rel=1e-5)
        assert found.coverage_radius[k - 1] == pytest.approx(made.coverage_radius, rel=1e-5)
        spread = [made.effective_random, made.effective_random_low, made.effective_random_high]
        assert found.effective_random[k - 1].tolist() == pytest.approx(spread, rel=1e-6)
        assert np.bincount(converted.prototypes.classes).tolist() == found.counts[k - 1].tolist()
    stored = subject.sweep(KMeans(3)).peek()
    assert stored is not None
    np.testing.assert_array_equal(stored.cluster, found.cluster)


def test_a_conversion_for_the_suggested_numbers_has_them(
    demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(demo, digits, dataset_of(digits))
    suggested, source = subject.suggestion().get(), KMeans(SUGGESTED, 4)
    # numbers of our own, in place of what the digits suggest
    numbers = np.array([1, 3, 2, 1, 1, 7, 1, 1, 20, 2])
    own = dataclasses.replace(suggested, suggested=numbers)
    monkeypatch.setattr(ModelSuggestion, "get", lambda _: own)
    prototypes = subject.conversion(source).make().prototypes
    assert np.bincount(prototypes.classes).tolist() == numbers.tolist()
    for label in (5, 8):
        alone = subject.conversion(KMeans(int(numbers[label]), 4)).make().prototypes
        of_class = prototypes.centers[prototypes.classes == label]
        np.testing.assert_allclose(of_class, alone.centers[alone.classes == label], rtol=1e-6)
    assert subject.conversion(source).key != subject.conversion(KMeans(1, 4)).key
