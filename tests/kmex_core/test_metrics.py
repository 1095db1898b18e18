from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score

from kmex_core.metrics import (
    accuracy,
    agreement,
    chance_accuracy,
    diversity,
    ghosting,
    paired_interval,
    paired_p_value,
    wilson_interval,
)
from kmex_core.prototypes.fit import activation_counts

labels_of = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50)


def test_guessing_is_right_as_often_as_the_most_frequent_class_is_and_never_less_than_one_in_c() -> None:
    assert chance_accuracy(np.array([0, 1, 1, 2, 1]), 3) == 3 / 5
    assert chance_accuracy(np.array([0, 1]), 2) == 1 / 2
    with pytest.raises(ValueError, match="at least one image"):
        chance_accuracy(np.zeros(0, int), 2)


@given(labels_of)
def test_accuracy_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(pairs).T
    assert accuracy(predicted, labels) == pytest.approx(accuracy_score(labels, predicted))
    assert agreement(predicted, labels) == agreement(labels, predicted)


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="two vectors of one length"):
        accuracy(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="two vectors"):
        accuracy(np.zeros(0), np.zeros(0))


def test_ghosting_by_hand() -> None:
    # prototypes 0, 1 of class 0 and 2, 3 of class 1; prototype 1 is activated by class 1 only, 3 by none
    activated, labels = np.array([0, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 0])
    own, every = activation_counts(activated, labels, np.array([0, 0, 1, 1]))
    assert own.tolist() == [2, 0, 1, 0]
    assert every.tolist() == [2, 1, 2, 0]
    assert ghosting(own) == 0.5
    assert ghosting(np.array([3, 1])) == 0
    with pytest.raises(ValueError, match="vector of counts"):
        ghosting(np.zeros(0))


@given(labels_of)
def test_counts_agree_with_a_slow_loop(pairs: list[tuple[int, int]]) -> None:
    activated, labels = np.array(pairs).T
    classes = np.array([0, 0, 1, 2, 4])
    own, every = activation_counts(activated, labels, classes)
    for k in range(5):
        assert every[k] == sum(a == k for a in activated)
        assert own[k] == sum(a == k and y == classes[k] for a, y in pairs)
    ghosts = sum(not any(a == k and y == classes[k] for a, y in pairs) for k in range(5))
    assert ghosting(own) == pytest.approx(ghosts / 5)


def test_diversity_by_hand() -> None:
    # two prototypes of each class at distance 1: s(p, p) = log(1/ε), s(p, q) = log(2/(1 + ε))
    centers = np.array([[0.0, 0], [1, 0], [5, 5], [5, 6]])
    epsilon = 1e-4
    self_weight, other = 1 / epsilon, 2 / (1 + epsilon)
    share = np.array([self_weight, other]) / (self_weight + other)
    expected = -(share * np.log(share)).sum() / np.log(2)
    assert diversity(centers, np.array([0, 0, 1, 1]), epsilon=epsilon) == pytest.approx(expected)


def test_diversity_against_a_slow_loop() -> None:
    random = np.random.default_rng(0)
    centers, classes = random.normal(size=(12, 6)), np.repeat([0, 1, 2], 4)
    total = 0.0
    for p in range(12):
        own = [q for q in range(12) if classes[q] == classes[p]]
        squares = [math.dist(centers[p], centers[q]) ** 2 for q in own]
        scores = [math.log((square + 1) / (square + 1e-4)) for square in squares]
        weights = [math.exp(score) for score in scores]
        total -= sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights) / math.log(4)
    assert diversity(centers, classes) == pytest.approx(total / 12)
    order = random.permutation(12)
    assert diversity(centers[order], classes[order]) == pytest.approx(total / 12)


def test_equal_prototypes_are_the_least_diverse() -> None:
    # all similarities are equal then, and the entropy is the largest: lower is better
    assert diversity(np.ones((4, 3)), np.zeros(4, dtype=int)) == pytest.approx(1)


def test_diversity_needs_two_of_some_class() -> None:
    centers = np.random.default_rng(0).normal(size=(4, 3))
    with pytest.raises(ValueError, match="only one"):
        diversity(centers, np.arange(4))
    several = diversity(centers[:3], np.zeros(3, dtype=int))
    assert diversity(centers, np.array([0, 0, 0, 1])) == pytest.approx(several)  # who is alone is left out


def test_diversity_over_all_prototypes_against_a_slow_loop() -> None:
    centers = np.random.default_rng(3).normal(size=(5, 4))
    total = 0.0
    for p in range(5):
        squares = [math.dist(centers[p], other) ** 2 for other in centers]
        weights = [(square + 1) / (square + 1e-4) for square in squares]
        total -= sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights) / math.log(5)
    assert diversity(centers, np.array([0, 0, 1, 1, 2]), "all") == pytest.approx(total / 5)


def test_rounding_in_float32_makes_prototypes_look_alike() -> None:
    # a prototype of an embedding of usual size is not at distance 0 from itself by float32 matrix products
    centers = np.random.default_rng(0).gamma(1.0, 1.0, size=(50, 512)).astype(np.float32)
    classes = np.repeat(np.arange(10), 5)
    points = torch.from_numpy(centers)
    self_distance = torch.cdist(points, points, compute_mode="use_mm_for_euclid_dist").diagonal()
    assert 1e-3 < float(self_distance.max()) < 1e-1
    exact, reference = diversity(centers, classes, "all"), diversity(centers, classes, "all", "reference")
    assert exact < 0.05
    assert reference > 5 * exact


@pytest.mark.parametrize("wrong", [("classes", "exact"), ("class", "fast")])
def test_unknown_variants_of_diversity_are_refused(wrong: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="Expected (scope|arithmetic)"):
        diversity(np.eye(4), np.zeros(4, dtype=int), *wrong)


@pytest.mark.parametrize(("share", "count"), [(0.5, 10), (0.964, 500), (0.0, 7), (1.0, 3), (0.02, 10_000)])
def test_wilson_intervals_are_those_of_scipy(share: float, count: int) -> None:
    theirs = binomtest(round(share * count), count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(round(share * count) / count, count) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


@pytest.mark.parametrize(("share", "count"), [(0.5, 0), (-0.1, 5), (1.1, 5), (float("nan"), 5)])
def test_an_interval_of_nothing_is_refused(share: float, count: int) -> None:
    with pytest.raises(ValueError, match="Expected a share"):
        wilson_interval(share, count)


def test_a_difference_is_judged_by_the_images_on_which_one_alone_is_right() -> None:
    def p(gained: int, lost: int, both: int = 400) -> float:
        one = np.array([True] * gained + [False] * lost + [True] * both + [False] * 7)
        other = np.array([False] * gained + [True] * lost + [True] * both + [False] * 7)
        return paired_p_value(one, other)

    for gained, lost in ((2, 0), (6, 4), (12, 1), (0, 0), (300, 250), (40, 0)):
        exact = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert p(gained, lost) == pytest.approx(exact)
        assert p(lost, gained) == p(gained, lost, both=9)
    assert p(2, 0) == 0.5  # two images of 500 prove nothing
    assert p(12, 1) < 0.05
    assert p(1100, 900) == pytest.approx(binomtest(1100, 2000).pvalue, rel=0.02)
    assert p(500, 500) > 0.95
    with pytest.raises(ValueError, match="same images"):
        paired_p_value(np.ones(2, bool), np.ones(3, bool))


def test_the_paired_interval_by_hand() -> None:
    """100 images, 10 right only by the one, 4 only by the other: Agresti and Min's adjusted Wald interval."""
    one = np.r_[np.ones(10), np.zeros(4), np.ones(80), np.zeros(6)].astype(bool)
    other = np.r_[np.zeros(10), np.ones(4), np.ones(80), np.zeros(6)].astype(bool)
    difference, low, high = paired_interval(one, other)
    middle = (10.5 - 4.5) / 102
    half = 1.959964 * np.sqrt((10.5 + 4.5) - (10.5 - 4.5) ** 2 / 102) / 102
    assert (difference, low, high) == pytest.approx((0.06, middle - half, middle + half))
    assert paired_interval(one, one)[0] == 0
    assert paired_interval(one, one)[1] < 0 < paired_interval(one, one)[2], "no difference is not proof of none"
    with pytest.raises(ValueError, match="same images"):
        paired_interval(one, other[:3])


def test_the_paired_interval_holds_the_difference_in_19_of_20_samples() -> None:
    random, inside = np.random.default_rng(0), 0
    for _ in range(2000):
        both = random.choice(4, 150, p=[0.8, 0.08, 0.05, 0.07])
        _, low, high = paired_interval(both <= 1, (both == 0) | (both == 2))
        inside += low <= 0.03 <= high
    assert inside / 2000 == pytest.approx(0.95, abs=0.02)
