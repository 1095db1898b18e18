"""Stability over seeds of k-means, against brute force and scikit-learn's k-means."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.cluster import KMeans

from kmex_core.metrics.stability import matched_distance, stability


def rand_by_pairs(one: np.ndarray, other: np.ndarray) -> float:
    """Hubert & Arabie's index by counting pairs of images one by one."""
    both = first = second = 0
    pairs = list(itertools.combinations(range(len(one)), 2))
    for i, j in pairs:
        first += one[i] == one[j]
        second += other[i] == other[j]
        both += one[i] == one[j] and other[i] == other[j]
    by_chance = first * second / len(pairs)
    return float((both - by_chance) / ((first + second) / 2 - by_chance))


def brute_force(one: np.ndarray, other: np.ndarray) -> float:
    return min(
        float(np.mean([math.dist(a, other[j]) for a, j in zip(one, order, strict=True)]))
        for order in itertools.permutations(range(len(other)))
    )


def test_matching_is_the_best_of_all() -> None:
    random = np.random.default_rng(0)
    for k in (1, 2, 5):
        one, other = random.normal(size=(k, 3)), random.normal(size=(k, 3))
        assert matched_distance(one, other) == pytest.approx(brute_force(one, other))
        assert matched_distance(one, one[::-1]) == 0
    assert matched_distance(np.array([[0.0], [5.0]]), np.array([[5.0], [9.0], [0.5]])) == pytest.approx(0.25)


def test_stability_against_slow_loops() -> None:
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], 30)
    z = random.normal(size=(60, 4)) * (1 + 2 * labels[:, None])
    classes = np.repeat([0, 1], 3)
    seeds = (4, 5, 6, 7)
    prototypes = [(random.normal(size=(6, 4)), classes) for _ in seeds]
    found = stability(prototypes, seeds, z, labels, 2)
    for c in range(2):
        images = z[labels == c]
        spread = math.sqrt(np.mean([math.dist(image, images.mean(0)) ** 2 for image in images]))
        sets = [centers[classes == c] for centers, _ in prototypes]
        assigned = [np.array([np.argmin([math.dist(x, center) for center in s]) for x in images]) for s in sets]
        pairs = list(itertools.combinations(range(4), 2))
        moved = np.mean([brute_force(sets[a], sets[b]) for a, b in pairs]) / spread
        assert found.distance[c] == pytest.approx(moved)
        assert found.rand_index[c] == pytest.approx(
            np.mean([rand_by_pairs(assigned[a], assigned[b]) for a, b in pairs])
        )
        draws = [brute_force(s, random.permutation(images)[:3]) / spread for s in sets for _ in range(100)]
        error = float(np.std(draws)) * math.sqrt(1 / 400 + 1 / 80)
        assert found.distance_random[c] == pytest.approx(np.mean(draws), abs=4 * error)
    again = stability(prototypes, seeds, z, labels, 2)
    np.testing.assert_array_equal(found.distance_random, again.distance_random)


def test_equal_prototypes_are_stable_and_those_of_separate_groups_nearly() -> None:
    random = np.random.default_rng(2)
    groups = 30 * random.normal(size=(4, 6))
    z = np.concatenate([group + random.normal(size=(25, 6)) for group in groups])
    labels, classes = np.zeros(100, dtype=int), np.zeros(4, dtype=int)
    same = stability(
        [(groups, classes), (groups[::-1], classes), (groups[[1, 0, 3, 2]], classes)], (0, 1, 2), z, labels, 1
    )
    assert same.distance.tolist() == [0]
    assert same.rand_index.tolist() == [1]
    assert same.distance_random[0] > 0.2
    centers = [KMeans(4, n_init=5, random_state=seed).fit(z).cluster_centers_ for seed in range(3)]
    by_kmeans = stability([(c, classes) for c in centers], (0, 1, 2), z, labels, 1)
    assert by_kmeans.distance[0] < 1e-6
    assert by_kmeans.rand_index[0] == 1


def test_random_centers_of_one_cloud_are_not_stable() -> None:
    random = np.random.default_rng(3)
    z, labels, classes = random.normal(size=(400, 8)), np.zeros(400, dtype=int), np.zeros(5, dtype=int)
    images = [(z[random.choice(400, 5, replace=False)], classes) for _ in range(12)]
    found = stability(images, range(12), z, labels, 1)
    assert found.rand_index[0] < 0.5
    assert found.distance[0] == pytest.approx(found.distance_random[0], rel=0.1)  # random images: chance level


def test_unit_and_origin_do_not_matter() -> None:
    random = np.random.default_rng(4)
    z, labels, classes = random.normal(size=(50, 3)), np.zeros(50, dtype=int), np.zeros(3, dtype=int)
    sets = [random.normal(size=(3, 3)) for _ in range(3)]
    one = stability([(s, classes) for s in sets], range(3), z, labels, 1)
    other = stability([(40 * s - 7, classes) for s in sets], range(3), 40 * z - 7, labels, 1)
    for name in ("distance", "distance_random", "rand_index"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)


def test_what_is_not_defined_is_said() -> None:
    z, labels = np.ones((6, 2)), np.zeros(6, dtype=int)
    one = np.zeros(1, dtype=int)
    single = stability([(z[:1], one)] * 3, range(3), z, labels, 1)
    assert np.isnan(single.rand_index).all()  # one prototype per class: nothing to assign
    assert single.distance.tolist() == [0]  # all images coincide
    with pytest.raises(ValueError, match="at least 3 seeds"):
        stability([(z[:1], one)] * 2, range(2), z, labels, 1)
    with pytest.raises(ValueError, match="Class 1 has no prototypes"):
        stability([(z[:1], one)] * 3, range(3), z, np.array([0, 0, 0, 1, 1, 1]), 2)
