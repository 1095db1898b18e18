"""Metrics on attributes, against hand arithmetic, pandas and loops."""

from __future__ import annotations

import itertools
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmex_core import metrics

HAS = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]], dtype=bool)


@st.composite
def tables(draw: st.DrawFn, rows: int = 12) -> np.ndarray:
    n, a = draw(st.integers(1, rows)), draw(st.integers(1, 5))
    return np.array(draw(st.lists(st.lists(st.booleans(), min_size=a, max_size=a), min_size=n, max_size=n)))


def test_frequency_by_hand() -> None:
    np.testing.assert_allclose(metrics.frequency(HAS), [3 / 4, 1 / 2, 1 / 4])
    known = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    np.testing.assert_allclose(metrics.frequency(HAS, known), [1, 1 / 2, np.nan])


def test_captured_and_first_captured_by_hand() -> None:
    one, two = HAS[:1], HAS[2:]
    assert metrics.captured(one).tolist() == [True, False, True]
    assert metrics.captured(two).tolist() == [True, True, False]
    by = {5: metrics.captured(two), 2: metrics.captured(one)}
    assert metrics.first_captured(by).tolist() == [2, 5, 2]
    assert metrics.first_captured({3: np.array([False, True])}).tolist() == [0, 3]


def test_lift_by_hand() -> None:
    found = metrics.lift(np.array([0.5, 0.0, 0.2, 0.0]), np.array([0.25, 0.1, 0.2, 0.0]))
    np.testing.assert_allclose(found, [2, 0, 1, np.nan])


@settings(max_examples=60, deadline=None)
@given(tables())
def test_correlation_is_pandas(has: np.ndarray) -> None:
    expected = pd.DataFrame(has.astype(float)).corr().to_numpy(copy=True)
    expected[np.isnan(expected)] = 0  # constant
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(metrics.correlation(has), expected, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_correlation_of_what_is_known_is_pandas_pairwise(has: np.ndarray, random: Random) -> None:
    known = np.array([[random.random() < 0.7 for _ in row] for row in has])
    expected = pd.DataFrame(np.where(known, has, np.nan)).corr(min_periods=1).to_numpy(copy=True)
    expected[np.isnan(expected)] = 0
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(metrics.correlation(has, known), expected, atol=1e-9)


def test_correlation_error_by_hand() -> None:
    one = np.array([[1.0, 0.5], [0.5, 1.0]])
    other = np.array([[1.0, -0.25], [-0.25, 1.0]])
    assert metrics.correlation_error(one, other) == pytest.approx(1.5 / 4)
    assert metrics.correlation_error(one, one) == 0
    with pytest.raises(ValueError, match="one shape"):
        metrics.correlation_error(one, np.eye(3))


@settings(max_examples=60, deadline=None)
@given(tables(), st.data())
def test_subgroups_are_counted_one_by_one(has: np.ndarray, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(has) - 1), min_size=1, max_size=4))
    found = metrics.subgroups(has, has[rows])
    pairs = list(itertools.combinations(range(has.shape[1]), 2))
    assert found.pairs.tolist() == [list(pair) for pair in pairs]
    for at, (one, other) in enumerate(pairs):
        images = sum(1 for row in has if row[one] and row[other])
        assert found.images[at] == images
        assert found.prototypes[at] == sum(1 for row in rows if has[row, one] and has[row, other])
        assert found.frequency[at] == pytest.approx(images / len(has))


def test_the_frequency_of_a_subgroup_is_over_what_is_known() -> None:
    known = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=bool)
    found = metrics.subgroups(HAS, HAS[:2], known)
    # attributes 0 and 1: known together for three images, one has both
    assert found.frequency[0] == pytest.approx(1 / 3)


@settings(max_examples=60, deadline=None)
@given(tables(), st.data())
def test_group_accuracy_is_counted_one_by_one(has: np.ndarray, data: st.DataObject) -> None:
    right = np.array(data.draw(st.lists(st.booleans(), min_size=len(has), max_size=len(has))))
    found = metrics.group_accuracy(right, has)
    expected = {}
    for one, other in itertools.combinations_with_replacement(range(has.shape[1]), 2):
        rows = [at for at in range(len(has)) if has[at, one] and has[at, other]]
        if rows:
            expected[(one, other)] = (len(rows), sum(bool(right[at]) for at in rows))
    counted = zip(found.groups.tolist(), found.images.tolist(), found.right.tolist(), strict=True)
    assert {tuple(group): (images, correct) for group, images, correct in counted} == expected
    for at in range(len(found.images)):
        low, high = metrics.wilson_interval(float(found.accuracy[at]), int(found.images[at]))
        assert (found.low[at], found.high[at]) == pytest.approx((low, high))
    assert sorted(found.order.tolist()) == list(range(len(found.images)))
    assert (np.diff(found.high[found.order]) >= 0).all()


def test_many_wrong_of_many_come_before_one_wrong_of_one() -> None:
    has = np.zeros((1001, 2), dtype=bool)
    has[:1000, 0] = True
    has[1000, 1] = True
    right = np.arange(1001) < 500
    found = metrics.group_accuracy(right, has)
    assert found.groups[found.order[0]].tolist() == [0, 0]
    assert len(metrics.group_accuracy(right, has, least=2).images) == 1


def test_told_apart_is_the_adjusted_r_squared_of_a_regression_on_prototypes() -> None:
    random = np.random.default_rng(3)
    activated = random.integers(0, 4, 200)
    has = np.stack([random.random(200) < 0.2 + 0.2 * activated, activated >= 2, random.random(200) < 0.5], 1)
    dummies = np.eye(4)[activated]
    for at, found in enumerate(metrics.correlation_ratio(has, activated, 4)):
        x = has[:, at].astype(float)
        residual = x - dummies @ np.linalg.lstsq(dummies, x, rcond=None)[0]
        expected = 1 - (residual @ residual / (200 - 4)) / (np.var(x) * 200 / 199)
        assert found == pytest.approx(expected)
    assert metrics.correlation_ratio(has, activated, 4)[1] == pytest.approx(1)
    assert abs(metrics.correlation_ratio(has, activated, 4)[2]) < 0.05


def test_told_apart_of_what_is_constant_or_too_little_is_not_a_number() -> None:
    assert np.isnan(metrics.correlation_ratio(np.ones((5, 1), dtype=bool), np.zeros(5, dtype=int), 1)).all()
    assert np.isnan(metrics.correlation_ratio(HAS, np.arange(4), 4)).all()
    half = np.array([[True], [True], [False], [False]])
    known = np.array([[True], [False], [True], [True]])
    some = metrics.correlation_ratio(half, np.array([0, 0, 1, 1]), 2, known)
    assert some[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="activated"):
        metrics.correlation_ratio(HAS, np.arange(3), 4)


@settings(max_examples=30, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_images_changes_nothing(has: np.ndarray, random: Random) -> None:
    order = list(range(len(has)))
    random.shuffle(order)
    np.testing.assert_allclose(metrics.correlation(has), metrics.correlation(has[order]), atol=1e-9)
    np.testing.assert_array_equal(metrics.captured(has), metrics.captured(has[order]))
    np.testing.assert_allclose(metrics.frequency(has), metrics.frequency(has[order]))


def test_prototypes_that_are_the_training_images_have_no_error_and_lift_one() -> None:
    assert metrics.correlation_error(metrics.correlation(HAS), metrics.correlation(HAS)) == 0
    np.testing.assert_allclose(metrics.lift(metrics.frequency(HAS), metrics.frequency(HAS)), 1)
    found = metrics.subgroups(HAS, HAS)
    np.testing.assert_array_equal(found.prototypes, found.images)


@pytest.mark.parametrize("bad", [np.zeros(3, dtype=bool), np.zeros((2, 2)), np.zeros((2, 2), dtype=int)])
def test_what_is_no_table_of_bool_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="matrix of bool"):
        metrics.frequency(bad)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="known values"):
        metrics.correlation(HAS, HAS[:2])
    with pytest.raises(ValueError, match="3 attributes"):
        metrics.subgroups(HAS, HAS[:, :2])
    with pytest.raises(ValueError, match="4 bool"):
        metrics.group_accuracy(np.ones(3, dtype=bool), HAS)
