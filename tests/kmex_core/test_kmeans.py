from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs

from kmex_core.prototypes.kmeans import kmeans


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
    with pytest.raises(ValueError, match="fewer than 3 distinct"):
        kmeans(points, 3, 0)


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_be_possible(k: int) -> None:
    with pytest.raises(ValueError, match="k must be between 1 and the number of points, 3"):
        kmeans(torch.zeros(3, 2), k, 0)
