"""The effective number of prototypes against code that shares nothing with it, and what must not change it."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from kmex_core.metrics import class_variance, effective_prototypes, equidistant_effective, random_effective
from kmex_core.metrics.effective import class_draws


def by_logarithm(rows: np.ndarray, variance: float) -> float:
    """exp(−trace(A log A)) of A = K / k by a matrix logarithm."""
    kernel = np.array([[math.exp(-(math.dist(a, b) ** 2) / (2 * variance)) for a in rows] for b in rows]) / len(rows)
    return math.exp(-np.trace(kernel @ scipy.linalg.logm(kernel)).real)


def clouds(seed: int = 0, sizes: tuple[int, ...] = (30, 50, 40), d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    spread = 1.0 + np.arange(len(sizes))[labels, None]
    return (10 * random.normal(size=(len(sizes), d))[labels] + spread * random.normal(size=(len(labels), d))), labels


def test_the_effective_number_against_a_matrix_logarithm() -> None:
    z, labels = clouds()
    centers, classes = np.concatenate([z[labels == c][:4] for c in range(3)]), np.repeat(np.arange(3), 4)
    variance = class_variance(z, labels, 3)
    expected = np.mean([by_logarithm(centers[classes == c], variance[c]) for c in range(3)])
    assert effective_prototypes(centers, classes, variance) == pytest.approx(expected)
    order = np.random.default_rng(1).permutation(12)
    assert effective_prototypes(centers[order], classes[order], variance) == pytest.approx(expected)


def test_the_variance_of_a_class_is_the_trace_of_its_covariance() -> None:
    z, labels = clouds()
    expected = [np.trace(np.cov(z[labels == c].T, bias=True)) for c in range(3)]
    np.testing.assert_allclose(class_variance(z.astype(np.float32) + 1000, labels, 3), expected, rtol=1e-3)
    with pytest.raises(ValueError, match="Class 3 has no images"):
        class_variance(z, labels, 4)


def test_equal_prototypes_count_as_one_and_distant_ones_for_themselves() -> None:
    centers, classes, one = 1e3 * np.eye(4), np.zeros(4, dtype=int), np.ones(1)
    assert effective_prototypes(centers, classes, one) == pytest.approx(4)
    assert effective_prototypes(centers[[0, 0, 0, 0]], classes, one) == pytest.approx(1)
    assert effective_prototypes(centers[[0, 0, 1, 1]], classes, one) == pytest.approx(2)
    assert effective_prototypes(centers[[0, 1, 2, 2]], np.array([0, 0, 1, 1]), np.ones(2)) == pytest.approx(1.5)
    assert effective_prototypes(centers, classes, np.zeros(1)) == 1  # no spread: all images of the class coincide
    with pytest.raises(ValueError, match="finite and not negative"):
        effective_prototypes(centers, classes, np.array([np.nan]))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.floats(-1e3, 1e3), st.floats(1e-2, 1e2))
def test_neither_origin_nor_scale_nor_rotation_matter(seed: int, k: int, shift: float, scale: float) -> None:
    z, labels = clouds(seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    classes, per_class = np.repeat(np.arange(3), k), np.full((1, 3), k)

    def values(of: np.ndarray) -> list[float]:
        centers = np.concatenate([of[labels == c][:k] for c in range(3)])
        variance = class_variance(of, labels, 3)
        (by_chance,) = random_effective(of, labels, per_class, variance, seed, 5)
        return [effective_prototypes(centers, classes, variance), by_chance.mean, by_chance.low, by_chance.high]

    found = values(z)
    assert values(scale * (z @ rotation) + shift) == pytest.approx(found, rel=1e-6)
    assert all(1 - 1e-9 <= value <= k + 1e-9 for value in found)


@pytest.mark.parametrize("k", [2, 3, 5, 20])
def test_equidistant_groups_are_the_corners_of_a_simplex_with_the_variance_of_the_class(k: int) -> None:
    corners = 7.3 * np.eye(k)  # all at one distance from each other
    variance = class_variance(np.repeat(corners, 9, axis=0), np.zeros(9 * k, dtype=int), 1)
    expected = equidistant_effective(k)
    assert effective_prototypes(corners, np.zeros(k, dtype=int), variance) == pytest.approx(expected)
    assert 1 < expected < k
    assert by_logarithm(corners, float(variance[0])) == pytest.approx(expected)


def test_what_equidistant_groups_score() -> None:
    assert equidistant_effective(1) == 1
    assert equidistant_effective(20) == pytest.approx(12.0, abs=0.02)  # it reads low
    with pytest.raises(ValueError, match="at least 1 group"):
        equidistant_effective(0)


def test_the_chance_level_against_draws_of_ones_own() -> None:
    z, labels = clouds()
    variance, per_class = class_variance(z, labels, 3), np.array([4, 0, 2])  # class 1 has no prototypes
    (found,) = random_effective(z, labels, per_class[None], variance, seed=3, draws=400)
    random, draws = np.random.default_rng(99), []
    for _ in range(400):
        picks = {c: random.permutation(z[labels == c])[: per_class[c]] for c in (0, 2)}
        draws.append(np.mean([by_logarithm(rows, variance[c]) for c, rows in picks.items()]))
    error = np.std(draws) * math.sqrt(2 / 400)
    assert found.mean == pytest.approx(np.mean(draws), abs=4 * error)
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=12 * error)
    assert [found] == random_effective(z, labels, per_class[None], variance, seed=3, draws=400)
    assert [found] != random_effective(z, labels, per_class[None], variance, seed=4, draws=400)


def test_several_numbers_at_once_are_those_alone_and_draws_are_nested() -> None:
    z, labels = clouds()
    variance, counts = class_variance(z, labels, 3), np.array([[1, 1, 0], [2, 3, 1], [6, 4, 2]])
    found = random_effective(z, labels, counts, variance, seed=3, draws=30)
    assert len(found) == 3
    assert [found[0].mean, found[0].low, found[0].high] == pytest.approx([1, 1, 1])  # one image counts as one
    for alone, band in zip(counts, found, strict=True):
        (one,) = random_effective(z, labels, alone[None], variance, seed=3, draws=30)
        assert [band.mean, band.low, band.high] == pytest.approx([one.mean, one.low, one.high], rel=1e-9)
        assert band.low <= band.mean <= band.high


def test_all_images_of_a_class_leave_nothing_to_chance() -> None:
    z, labels = clouds(sizes=(5, 5))
    variance = class_variance(z, labels, 2)
    (found,) = random_effective(z, labels, np.array([[5, 5]]), variance, 0)
    assert found.low == pytest.approx(found.high)
    assert found.mean == pytest.approx(effective_prototypes(z, labels, variance))
    with pytest.raises(ValueError, match="Class 0 has 5 images, fewer than its 6 prototypes"):
        random_effective(z, labels, np.array([[5, 5], [6, 5]]), variance, 0)
    with pytest.raises(ValueError, match="No class has prototypes"):
        random_effective(z, labels, np.array([[5, 5], [0, 0]]), variance, 0)


def test_prototypes_on_separate_groups_exceed_chance() -> None:
    random = np.random.default_rng(0)
    groups = 20 * random.normal(size=(6, 16))
    z = (groups[:, None] + random.normal(size=(6, 40, 16))).reshape(-1, 16)
    labels, variance = np.zeros(240, dtype=int), class_variance(z, np.zeros(240, dtype=int), 1)
    of_groups = effective_prototypes(groups, np.zeros(6, dtype=int), variance)
    (by_chance,) = random_effective(z, labels, np.array([[6]]), variance, 0)
    assert of_groups > by_chance.high
    # one group drawn six times is below it
    assert effective_prototypes(z[:6], np.zeros(6, dtype=int), variance) < 1.5


def test_chance_is_fast() -> None:
    random = np.random.default_rng(0)
    z, labels = random.normal(size=(5000, 512)).astype(np.float32), random.integers(0, 10, 5000)
    variance = class_variance(z, labels, 10)
    started = time.process_time()
    random_effective(z, labels, np.arange(1, 21)[:, None].repeat(10, 1), variance, 0)
    assert time.process_time() - started < 2  # 0.2 to 0.3 s on an idle core


@pytest.mark.parametrize(("size", "most"), [(50, 6), (9, 9), (1, 1)])
def test_draws_are_the_first_places_of_whole_permutations(size: int, most: int) -> None:
    """Only what was moved is kept; here are all places."""
    z, draws, random = np.random.default_rng(1).normal(size=(size, 4)), 40, np.random.default_rng([3, 2])
    order, each = np.tile(np.arange(size), (draws, 1)), np.arange(draws)
    for place in range(most):
        other = random.integers(place, size, draws)
        order[each, place], order[each, other] = order[each, other], order[each, place]
    found = class_draws(2, size, np.array([most, 0]), 1.5, 3, lambda places: z[places], draws)
    expected = [effective_prototypes(z[rows[:most]], np.zeros(most, int), np.array([1.5])) for rows in order]
    np.testing.assert_allclose(found[0], expected)
    assert np.isnan(found[1]).all()
