"""The metric of an embedding, its choice, and the linear probe, against scikit-learn's own and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from kmex_core.base.errors import InputError
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.fit import activated, fit_prototypes
from kmex_core.prototypes.metric import NAMES, fit_metric, pulled_back, separation
from kmex_core.prototypes.metric_choice import agreed, chosen_metric, trial, trials_on_halves
from kmex_core.prototypes.probe import linear_probe
from kmex_core.prototypes.temperature import halves_of

CLASSES, DIMENSIONS = 4, 6


def stretched(seed: int, count: int = 400, noise: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """An embedding whose classes differ along a direction that varies little, beside one that varies a lot."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    z = random.normal(size=(count, DIMENSIONS))
    z[:, 0] = labels + 0.3 * z[:, 0]
    z[:, 1] *= noise
    turned = np.linalg.qr(random.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    return (z @ turned).astype(np.float32), labels


def centred(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return z.astype(float) - np.stack([z[labels == label].astype(float).mean(0) for label in range(CLASSES)])[labels]


def embeddings(z: np.ndarray, labels: np.ndarray) -> Embeddings:
    return Embeddings(z, labels.astype(np.int64), labels.astype(np.int64))


def test_whitened_distances_are_mahalanobis_distances_with_ledoit_and_wolfs_covariance() -> None:
    z, labels = stretched(0)
    fitted = LedoitWolf(assume_centered=True).fit(centred(z, labels))
    metric = fit_metric("whitened", z, labels)
    assert metric.shrinkage == pytest.approx(fitted.shrinkage_, rel=1e-6)
    np.testing.assert_allclose(metric.matrix, sqrtm(np.linalg.inv(fitted.covariance_)).real, rtol=1e-3, atol=1e-5)
    placed = metric(z[:5])
    for i in range(5):
        for j in range(5):
            expected = mahalanobis(z[i].astype(float), z[j].astype(float), np.linalg.inv(fitted.covariance_))
            assert np.linalg.norm(placed[i] - placed[j]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_one_whitened_prototype_per_class_is_linear_discriminant_analysis_with_equal_priors() -> None:
    z, labels = stretched(1)
    others, _ = stretched(2)
    metric = fit_metric("whitened", z, labels)
    prototypes = fit_prototypes(embeddings(z, labels).in_space(metric), list("abcd"), 1)
    ours = prototypes.classes[activated(metric(others), prototypes.centers)]
    analysis = LinearDiscriminantAnalysis(
        solver="lsqr",
        priors=[1 / CLASSES] * CLASSES,
        covariance_estimator=_Given(LedoitWolf(assume_centered=True).fit(centred(z, labels)).covariance_),
    ).fit(z.astype(float), labels)
    np.testing.assert_array_equal(ours, analysis.predict(others.astype(float)))
    assert (ours != NearestCentroid().fit(z, labels).predict(others)).mean() > 0.1  # Euclidean is another classifier


class _Given:
    """A covariance that is known, for scikit-learn."""

    def __init__(self, covariance: np.ndarray) -> None:
        self.covariance_ = covariance

    def fit(self, _: np.ndarray) -> _Given:
        return self


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100), st.floats(-50, 50), st.integers(0, 10))
def test_scale_and_origin_change_no_whitened_distance(scale: float, origin: float, seed: int) -> None:
    z, labels = stretched(seed)
    moved = (z.astype(float) * scale + origin).astype(np.float32)
    plain, other = fit_metric("whitened", z, labels), fit_metric("whitened", moved, labels)
    np.testing.assert_allclose(
        cdist(other(moved[:8]), other(moved[:8])), cdist(plain(z[:8]), plain(z[:8])), rtol=0.02, atol=0.02
    )


def test_cosine_is_the_angle_and_euclidean_is_the_embedding() -> None:
    z, labels = stretched(3)
    assert fit_metric("euclidean", z, labels)(z) is z
    placed = fit_metric("cosine", z, labels)(z)
    np.testing.assert_allclose(cdist(placed[:6], placed[:6]) ** 2 / 2, cdist(z[:6], z[:6], "cosine"), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_and_arrays_are_placed_alike_and_come_back(name: str) -> None:
    z, labels = stretched(4)
    metric = fit_metric(name, z, labels)
    by_torch = metric(torch.from_numpy(z)).numpy() if name != "whitened" else None
    if by_torch is not None:
        np.testing.assert_allclose(by_torch, metric(z), rtol=1e-5)
    back = metric.back(metric(z))
    if name == "cosine":  # the direction comes back, at the mean length
        np.testing.assert_allclose(cdist(back[:5], z[:5], "cosine").diagonal(), 0, atol=1e-5)
        assert np.linalg.norm(back, axis=1) == pytest.approx(np.linalg.norm(z, axis=1).mean(), rel=1e-4)
    else:
        np.testing.assert_allclose(back, z, rtol=1e-3, atol=1e-3)


def test_classes_that_are_points_and_units_that_never_fire_do_not_break_it() -> None:
    z, labels = stretched(5)
    z[:, 2] = 0
    assert np.isfinite(fit_metric("whitened", z, labels)(z)).all()
    points = np.eye(CLASSES, DIMENSIONS, dtype=np.float32)[labels]
    np.testing.assert_array_equal(fit_metric("whitened", points, labels)(points), points)
    with pytest.raises(InputError, match="no metric 'manhattan'"):
        fit_metric("manhattan", z, labels)


def test_relevance_that_is_pulled_back_keeps_its_sum_and_is_distributed_by_hand() -> None:
    z, labels = stretched(6)
    z = np.maximum(z, 0)
    z[:, 3] = 0  # never fires
    metric = fit_metric("whitened", z, labels)
    relevance = np.random.default_rng(0).random((5, DIMENSIONS)).astype(np.float32)
    some = z[np.abs(z).sum(1) > 0][:5]
    back = pulled_back(relevance, some, "whitened", metric.matrix)
    np.testing.assert_allclose(back.sum(1), relevance.sum(1), rtol=1e-4)
    assert (back[some == 0] == 0).all()
    # by hand, one image: each dimension's relevance goes to where its value came from
    parts = np.abs(some[0][:, None].astype(float) * metric.matrix)
    reached = parts.sum(0) > 1e-12
    shares = np.where(
        reached, parts / np.where(reached, parts.sum(0), 1), (np.abs(some[0]) / np.abs(some[0]).sum())[:, None]
    )
    np.testing.assert_allclose(back[0], shares @ relevance[0], rtol=1e-3, atol=1e-6)
    by_torch = pulled_back(
        torch.from_numpy(relevance), torch.from_numpy(some), "whitened", torch.from_numpy(metric.matrix)
    )
    np.testing.assert_allclose(by_torch.numpy(), back, rtol=1e-4, atol=1e-6)
    assert pulled_back(relevance, some, "cosine", metric.matrix) is relevance


def test_separation_is_within_over_between_class_variance() -> None:
    z, labels = stretched(7)
    means = np.stack([z[labels == label].astype(float).mean(0) for label in range(CLASSES)])
    within = (centred(z, labels) ** 2).sum()
    between = ((means[labels] - z.astype(float).mean(0)) ** 2).sum()
    assert separation(z, labels) == pytest.approx(within / between)
    assert separation(np.eye(CLASSES)[labels], labels) == 0
    assert separation(np.ones((8, 2)), np.arange(8) % 2) == float("inf")


def test_whitened_wins_unless_euclidean_is_better_by_more_than_a_standard_error() -> None:
    right = np.ones(100, dtype=bool)
    worse = right.copy()
    worse[:1] = False  # one image of 100: difference 0.01, standard error 0.01
    assert trial(right, worse).choice == "whitened"
    worse[:4] = False
    found = trial(right, worse)
    assert found.choice == "euclidean"
    assert found.standard_error == pytest.approx(np.std([1.0] * 4 + [0.0] * 96, ddof=1) / 10)
    assert trial(worse, right).choice == "whitened"
    labels = np.repeat([0, 1], 50)
    halves = halves_of(labels)
    assert np.bincount(halves).tolist() == [50, 50]
    one_half = right & ~((halves == 0) & (np.arange(100) % 2 == 0))
    trials = trials_on_halves(right, one_half, labels)
    assert [each.choice for each in trials] == ["euclidean", "whitened"]
    assert agreed(trials) == "euclidean"
    assert agreed(trials[1:]) == "whitened"


def test_auto_chooses_by_held_out_images() -> None:
    z, labels = stretched(8)
    order = np.random.default_rng(0).permutation(len(z))
    train, held = (embeddings(z[part], labels[part]) for part in (order[:200], order[200:]))
    assert chosen_metric("auto", train, held, list("abcd")).name == "whitened"
    assert chosen_metric("auto", embeddings(z, labels), None, list("abcd")).name == "whitened"
    # every class has groups far apart along one axis: the variance within classes is what tells them apart
    random = np.random.default_rng(0)
    group = np.arange(1200) % 12
    grouped = random.normal(size=(1200, 30))
    grouped[:, 0] += 12 * group
    many = grouped.astype(np.float32), group % 2
    train, held = (embeddings(many[0][part], many[1][part]) for part in (slice(0, 240), slice(240, None)))
    assert chosen_metric("auto", train, held, list("ab")).name == "euclidean"
    with pytest.raises(InputError, match="no metric"):
        chosen_metric("nearest", train, held, list("ab"))


def test_the_probe_finds_what_is_linear_and_nothing_else() -> None:
    z, labels = stretched(10, 600)
    predicted = linear_probe(z[:400], labels[:400], z[400:])
    analysis = LinearDiscriminantAnalysis().fit(z[:400], labels[:400])
    assert (predicted == labels[400:]).mean() > (analysis.predict(z[400:]) == labels[400:]).mean() - 0.05
    shuffled = np.random.default_rng(0).permutation(labels[:400])
    assert (linear_probe(z[:400], shuffled, z[400:]) == labels[400:]).mean() < 0.45  # chance: 1 / 4
    assert linear_probe(z[:5], np.full(5, 3), z[:2]).tolist() == [3, 3]
    assert set(linear_probe(z[:5], labels[:5], z[:8])) <= {0, 1, 2, 3}  # too few for cross-validation
