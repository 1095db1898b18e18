"""The metrics on maps, confidences and distances, each against something that shares no code with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from kmex_core.metrics import (
    class_accuracy,
    class_variance,
    confusion,
    coverage_radius,
    diversity,
    expected_calibration_error,
    relative_distance,
    similarity_diversity,
)
from kmex_core.metrics.faithfulness import map_divergence, normalised_relevance
from kmex_core.metrics.ordering import curve_area, pixel_counts
from kmex_core.metrics.robustness import average_drop, average_increase
from kmex_core.relevance.removal import keep_pixels, relevance_rank


def test_confusion_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    predicted, labels = random.integers(0, 4, 300), random.integers(0, 3, 300)
    found = confusion(predicted, labels, 4)
    assert (found == sklearn.metrics.confusion_matrix(labels, predicted, labels=range(4))).all()
    expected = sklearn.metrics.recall_score(labels, predicted, labels=range(3), average=None)
    assert class_accuracy(found)[:3] == pytest.approx(expected)
    assert math.isnan(class_accuracy(found)[3])


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([0, -1, 1]), np.array([0, 3, 1])])
def test_confusion_refuses_what_does_not_fit(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Expected"):
        confusion(np.array([0, 1, 2]), labels, 3)


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.51])
    correct = np.array([True, False, True, True])
    # bins of a tenth: (0.9, 1]: |0.5 - 0.95|; (0.5, 0.6]: |1 - 0.53|
    assert expected_calibration_error(confidence, correct, bins=10) == pytest.approx((2 * 0.45 + 2 * 0.47) / 4)


def test_calibration_error_against_a_slow_loop() -> None:
    random = np.random.default_rng(1)
    confidence, correct = random.random(500), random.random(500) < 0.6
    total = 0.0
    for b in range(15):
        inside = [i for i in range(500) if b / 15 < confidence[i] <= (b + 1) / 15]
        if inside:
            right = sum(correct[i] for i in inside) / len(inside)
            total += len(inside) / 500 * abs(right - sum(confidence[i] for i in inside) / len(inside))
    assert expected_calibration_error(confidence, correct) == pytest.approx(total)


def test_confidences_that_are_none_are_refused() -> None:
    for confidence in (np.array([]), np.array([1.2]), np.array([np.nan])):
        with pytest.raises(ValueError, match="Expected"):
            expected_calibration_error(confidence, np.ones(len(confidence), dtype=bool))


def test_relative_distance_against_a_tree() -> None:
    random = np.random.default_rng(2)
    z, labels = random.normal(size=(200, 6)), np.repeat([0, 1], 100)
    z[labels == 1] *= 3
    centers, classes = random.normal(size=(7, 6)), np.array([0, 0, 0, 1, 1, 1, 1])
    expected = []
    for label in (0, 1):
        own = centers[classes == label]
        nearest = cKDTree(own).query(own, k=2)[0][:, 1]
        spread = math.sqrt(np.var(z[labels == label], axis=0).sum())
        expected += [value / spread for value in nearest]
    variance = class_variance(z, labels, 2)
    assert relative_distance(centers, classes, variance) == pytest.approx(np.mean(expected))
    order = random.permutation(7)
    assert relative_distance(centers[order], classes[order], variance) == pytest.approx(np.mean(expected))


def test_relative_distance_of_a_class_in_one_point_is_zero() -> None:
    assert relative_distance(np.ones((2, 3)), np.zeros(2, int), np.zeros(1)) == 0
    with pytest.raises(ValueError, match="has a single prototype"):
        relative_distance(np.ones((1, 3)), np.zeros(1, int), np.ones(1))


def test_coverage_radius_by_hand() -> None:
    assert coverage_radius(np.arange(101.0)) == 95
    with pytest.raises(ValueError, match="Expected"):
        coverage_radius(np.array([]))


@pytest.mark.parametrize("scope", ["class", "all"])
def test_diversity_of_dot_products_against_scipy(scope: str) -> None:
    random = np.random.default_rng(3)
    rows, classes = random.normal(size=(9, 4)), np.repeat([0, 1, 2], 3)
    similarity = rows @ rows.T
    found = []
    for p in range(9):
        others = classes == classes[p] if scope == "class" else np.ones(9, dtype=bool)
        shares = scipy.special.softmax(similarity[p, others])
        found.append(scipy.stats.entropy(shares) / math.log(others.sum()))
    assert similarity_diversity(similarity, classes, scope) == pytest.approx(np.mean(found))


def test_diversity_of_the_released_code_on_a_stored_example() -> None:
    """As the released code has it: unsquared distances of float32 `torch.cdist`, ε = 1e-4, all K prototypes."""
    centers = np.random.default_rng(4).gamma(1.0, 1.0, size=(50, 512)).astype(np.float32)
    p = torch.from_numpy(centers)
    distance = torch.cdist(p, p, compute_mode="use_mm_for_euclid_dist")
    share = torch.softmax(torch.log((distance + 1) / (distance + 1e-4)), 1)
    expected = float(torch.mean(-(share * torch.log(share)).sum(1) / math.log(50)))
    classes = np.repeat(np.arange(10), 5)
    assert diversity(centers, classes, "all", "reference") == pytest.approx(expected, rel=1e-5)
    assert diversity(centers, classes, "all", "reference") != pytest.approx(diversity(centers, classes, "all"), rel=0.5)


def test_divergence_of_maps_is_the_entropy_of_scipy() -> None:
    random = np.random.default_rng(5)
    own, other = random.normal(size=(2, 6, 3, 4, 5))
    expected = [
        scipy.stats.entropy(np.abs(a).max(0).ravel(), np.abs(b).max(0).ravel())  # it divides by the sum itself
        for a, b in zip(own, other, strict=True)
    ]
    found = map_divergence(torch.from_numpy(own), torch.from_numpy(other))
    assert found.numpy() == pytest.approx(np.array(expected))


def test_divergence_from_itself_is_zero_also_without_any_relevance() -> None:
    maps = torch.randn(4, 3, 5, 5)
    maps[2] = 0
    assert (map_divergence(maps, maps) == 0).all()
    assert (map_divergence(maps, 7 * maps).abs() < 1e-6).all()
    assert normalised_relevance(maps)[2].tolist() == pytest.approx([1 / 25] * 25)
    assert float(map_divergence(maps[2:3], torch.ones(1, 3, 5, 5))) == pytest.approx(0)


def test_ranks_are_those_of_scipy() -> None:
    relevance = torch.randn(3, 2, 4, 4)
    expected = [scipy.stats.rankdata(-one.sum(0).numpy().ravel(), method="ordinal") - 1 for one in relevance]
    assert (relevance_rank(relevance).numpy() == np.array(expected)).all()
    assert relevance_rank(torch.zeros(1, 1, 2, 2)).tolist() == [[0, 1, 2, 3]]


def test_the_most_relevant_pixels_are_kept() -> None:
    image = torch.arange(8.0).view(1, 2, 2, 2)
    relevance = torch.tensor([[[[1.0, -5.0], [2.0, 3.0]]]])
    kept = keep_pixels(image, torch.full((2, 2, 2), -1.0), relevance_rank(relevance), torch.tensor([2]))
    assert kept.tolist() == [[[[-1, -1], [2, 3]], [[-1, -1], [6, 7]]]]


def test_drop_and_increase_by_hand() -> None:
    before, after = np.array([2.0, 2.0, 1.0, 0.0, -1.0]), np.array([1.0, 3.0, 1.0, 1.0, -2.0])
    assert average_drop(before, after)[:3].tolist() == [0.5, 0, 0]
    assert np.isnan(average_drop(before, after)[3:]).all()
    assert average_increase(before, after).tolist() == [0, 1, 0, 1, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_area_is_that_of_scikit_learn(curve: list[float]) -> None:
    shares = np.linspace(0, 1, len(curve))
    assert float(curve_area(np.array(curve))) == pytest.approx(sklearn.metrics.auc(shares, curve))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 40))
def test_pixels_come_in_from_none_to_all(pixels: int, steps: int) -> None:
    counts = pixel_counts(pixels, steps)
    assert (counts[0], counts[-1], len(counts)) == (0, pixels, steps + 1)
    assert (np.diff(counts) >= 0).all()
