from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs

from kmex_core.prototypes import kmeans as module
from kmex_core.prototypes.kmeans import kmeans

TOLERANCE = 1.005  # of the mean inertia over seeds, against the best of 10 runs of scikit-learn


def smooth(n: int = 900, d: int = 48) -> np.ndarray:
    """Points without groups, like the embedding of one class."""
    random = np.random.default_rng(0)
    mixed = random.standard_normal((n, 16)) @ random.standard_normal((16, d))
    return np.maximum(mixed, 0).astype(np.float32)


def grouped(n: int = 900, d: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Points in 20 groups of which 8 are small, and the group of each."""
    random = np.random.default_rng(0)
    size = np.where(np.arange(20) < 12, 1.0, 0.2)
    groups = random.choice(20, n, p=size / size.sum())
    points = 2 * random.standard_normal((20, d))[groups] + random.standard_normal((n, d))
    return points.astype(np.float32), groups


def inertia_of(points: np.ndarray, labels: np.ndarray) -> float:
    return sum(((points[labels == c] - points[labels == c].mean(0)) ** 2).sum() for c in np.unique(labels))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [2, 3])
def test_the_best_clustering_of_few_points_is_found(seed: int, k: int) -> None:
    points = np.random.default_rng(seed).normal(size=(8, 2)).astype(np.float32)
    every = (np.array(labels) for labels in itertools.product(range(k), repeat=len(points)))
    best = min(inertia_of(points, labels) for labels in every if len(set(labels)) == k)
    assert kmeans(torch.from_numpy(points), k, seed=0).inertia == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_as_good_as_many_runs_of_scikit_learn(k: int) -> None:
    points = load_digits().data.astype(np.float32)
    theirs = KMeans(k, n_init=20, random_state=0).fit(points).inertia_
    ours = np.mean([kmeans(torch.from_numpy(points), k, seed).inertia for seed in range(3)])
    assert ours <= theirs * 1.015


@pytest.mark.parametrize("k", [3, 12, 20])
@pytest.mark.parametrize("points", [smooth(), grouped()[0]], ids=["smooth", "grouped"])
def test_as_good_as_the_best_of_ten_runs_of_scikit_learn(points: np.ndarray, k: int) -> None:
    theirs = KMeans(k, n_init=10, random_state=0).fit(points).inertia_
    found = [kmeans(torch.from_numpy(points), k, seed) for seed in range(5)]
    for one in found:
        assert one.inertia == pytest.approx(inertia_of(points.astype(float), one.labels.numpy()), rel=1e-4)
    assert np.mean([one.inertia for one in found]) <= theirs * TOLERANCE


def test_small_groups_are_found() -> None:
    points, groups = grouped()
    for seed in range(3):
        labels = kmeans(torch.from_numpy(points), 20, seed).labels.numpy()
        # a group is found if it makes up most of the cluster that most of it is in
        main = [np.bincount(labels[groups == g]).argmax() for g in range(20)]
        assert sum(np.bincount(groups[labels == main[g]]).argmax() == g for g in range(20)) >= 19


@pytest.mark.parametrize("points", [smooth(400), grouped(400)[0]], ids=["smooth", "grouped"])
def test_more_clusters_fit_better(points: np.ndarray) -> None:
    inertia = [kmeans(torch.from_numpy(points), k, seed=1).inertia for k in range(1, 25)]
    # each is a local optimum: 0.5 % is left to that
    assert (np.diff(inertia) < 0.005 * np.array(inertia[:-1])).all()
    assert (np.array(inertia[3:]) < inertia[:-3]).all()


def test_a_greedy_step_takes_the_candidate_with_the_lowest_potential() -> None:
    random = np.random.default_rng(3)
    points, weights = random.normal(size=(40, 5)), random.uniform(0.5, 2, 40)
    centers = [[0, 7], [3, 9], [20, 21]]  # of three starts
    drawn = np.array([[1, 2, 3, 4], [5, 5, 6, 8], [10, 11, 12, 13]])
    nearest = np.array([[min(((x - points[c]) ** 2).sum() for c in of_start) for x in points] for of_start in centers])
    potential = [
        [sum(w * min(((x - points[c]) ** 2).sum() for c in [*of, new]) for x, w in zip(points, weights, strict=True))
         for new in candidates]
        for of, candidates in zip(centers, drawn, strict=True)
    ]  # fmt: skip
    squares = torch.from_numpy((points**2).sum(1))
    after, best = module._greedy_choice(
        torch.from_numpy(points), squares, torch.from_numpy(weights), torch.from_numpy(nearest), torch.from_numpy(drawn)
    )
    assert best.tolist() == np.argmin(potential, 1).tolist()
    np.testing.assert_allclose(after.numpy() @ weights, np.min(potential, 1))


def test_starts_are_different_points() -> None:
    points = torch.from_numpy(smooth(60))
    known = {tuple(point) for point in points.tolist()}
    starts = module._greedy_plus_plus(points, torch.ones(60), 8, 5, torch.Generator().manual_seed(0))
    assert starts.shape == (5, 8, points.shape[1])
    for start in starts:
        assert len(torch.unique(start, dim=0)) == 8
        assert {tuple(center) for center in start.tolist()} <= known


def test_a_large_mean_costs_no_precision() -> None:
    points, labels = make_blobs(600, centers=4, n_features=8, cluster_std=0.5, random_state=0)
    found = kmeans(torch.from_numpy((points + 1000).astype(np.float32)), 4, seed=0)
    for c in range(4):
        assert len(np.unique(labels[found.labels.numpy() == c])) == 1


def test_a_coreset_is_as_good_as_all_points() -> None:
    points, _ = make_blobs(30_000, centers=12, n_features=16, cluster_std=2.0, random_state=1)
    points = points.astype(np.float32)
    theirs = KMeans(12, n_init=10, random_state=0).fit(points).inertia_
    assert kmeans(torch.from_numpy(points), 12, seed=0).inertia <= theirs * 1.005


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(6, 60), st.integers(1, 5), st.integers(0, 1000))
def test_what_a_clustering_must_hold(k: int, n: int, d: int, seed: int) -> None:
    points = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))
    found = kmeans(points, k, seed)
    sizes = torch.bincount(found.labels, minlength=k)
    assert found.centers.shape == (k, d)
    assert (sizes > 0).all(), "an empty cluster survived"
    assert (sizes.diff() <= 0).all(), "the largest cluster comes first"
    for c in range(k):
        torch.testing.assert_close(found.centers[c], points[found.labels == c].mean(0), rtol=1e-4, atol=1e-4)
    distances = torch.cdist(points, found.centers, compute_mode="donot_use_mm_for_euclid_dist")
    chosen = distances.gather(1, found.labels[:, None])[:, 0]
    assert (chosen <= distances.min(1).values + 1e-3).all(), "a point is not with its nearest center"
    again = kmeans(points, k, seed)
    assert torch.equal(again.centers, found.centers)
    assert again.inertia == found.inertia


def test_the_order_of_points_and_their_unit_do_not_matter_for_separate_groups() -> None:
    points, _ = make_blobs(300, centers=5, n_features=4, cluster_std=0.2, random_state=3)
    points = torch.from_numpy(points.astype(np.float32))
    order = torch.randperm(300)
    one, other = kmeans(points, 5, 0), kmeans(points[order] * 100, 5, 7)
    same = (one.labels[order, None] == one.labels[None, order]) == (other.labels[:, None] == other.labels[None, :])
    assert same.all()


def test_equal_points_are_one_cluster_only() -> None:
    points = torch.tensor([[0.0, 0.0]] * 5 + [[1.0, 1.0]] * 5)
    assert sorted(kmeans(points, 2, 0).centers[:, 0].tolist()) == [0.0, 1.0]
    assert kmeans(points, 2, 0).inertia == 0
    with pytest.raises(ValueError, match="fewer than 3 distinct"):
        kmeans(points, 3, 0)


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_be_possible(k: int) -> None:
    with pytest.raises(ValueError, match="k must be between 1 and the number of points, 3"):
        kmeans(torch.zeros(3, 2), k, 0)
