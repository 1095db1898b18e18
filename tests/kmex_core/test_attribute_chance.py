"""The chance level of attribute coverage, against enumeration, hypergeometric probabilities and pandas."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from kmex_core import metrics
from kmex_core.metrics.attribute_chance import _distinct

MANY = 20_000


def small(unknown: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    labels = np.array([0] * 5 + [1] * 3 + [2])
    return random.random((9, 4)) < 0.45, labels, random.random((9, 4)) >= unknown


def every_draw(labels: np.ndarray, taken: list[int]) -> list[list[int]]:
    """All sets of images with so many of each class: every one is equally likely."""
    per_class = [itertools.combinations(np.flatnonzero(labels == c).tolist(), k) for c, k in enumerate(taken)]
    return [list(itertools.chain(*parts)) for parts in itertools.product(*per_class)]


def pandas_correlation(has: np.ndarray, known: np.ndarray) -> np.ndarray:
    found = pd.DataFrame(np.where(known, has, np.nan)).corr(min_periods=1).to_numpy(copy=True)
    found[np.isnan(found)] = 0
    np.fill_diagonal(found, 1)
    return found


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_the_draws_are_all_sets_of_that_size_equally_often(unknown: float) -> None:
    has, labels, known = small(unknown)
    found = metrics.attribute_chance(has, labels, np.array([2, 2, 4]), known if unknown else None, MANY)
    whole, there = pandas_correlation(has, known), has & known
    first, second = np.triu_indices(4, 1)
    captured, error, numbers, pairs, correlation = [], [], [], [], []
    for images in every_draw(labels, [2, 2, 1]):  # the third class has one image only
        rows = there[images].astype(float)
        captured.append(rows.max(0))
        difference = np.abs(pandas_correlation(has[images], known[images]) - whole)
        error.append(difference.mean())
        correlation.append(difference.max())
        numbers.append(rows.sum(0))
        pairs.append((rows[:, first] * rows[:, second]).sum(0))
    np.testing.assert_allclose(found.expected, np.mean(numbers, 0), atol=1e-12)
    np.testing.assert_allclose(found.expected_pairs, np.mean(pairs, 0), atol=1e-12)
    # the draws' means are within five standard errors of the means over all sets
    for drawn, exact in (
        (found.captured_by.astype(float), np.array(captured)),
        (found.captured.astype(float), np.sum(captured, 1)),
        (found.error, np.array(error)),
        (found.deviation, np.abs(numbers - found.expected).max(1)),
        (found.deviation_pairs, np.abs(pairs - found.expected_pairs).max(1)),
        (found.deviation_correlation, np.array(correlation)),
    ):
        np.testing.assert_array_less(np.abs(drawn.mean(0) - exact.mean(0)), 5 * exact.std(0) / np.sqrt(MANY) + 1e-9)
        assert np.isin(np.round(drawn, 9), np.round(exact, 9)).all(), "no draw is anything but one of the sets"


def test_the_rate_of_capture_is_hypergeometric() -> None:
    random = np.random.default_rng(1)
    labels, has = random.integers(0, 3, 400), random.random((400, 6)) < np.array([0.01, 0.03, 0.1, 0.3, 0.0, 1.0])
    per_class = np.array([3, 7, 0])
    found = metrics.attribute_chance(has, labels, per_class, draws=MANY)
    missed = np.ones(6)
    for c, k in enumerate(per_class.tolist()):
        of_class = has[labels == c]
        missed *= [hypergeom(len(of_class), int(n), k).pmf(0) for n in of_class.sum(0)]
    np.testing.assert_allclose(found.capture_rate, 1 - missed, atol=5 * 0.5 / np.sqrt(MANY))
    assert found.captured.mean() == pytest.approx((1 - missed).sum(), abs=0.05)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_no_image_is_drawn_twice(sizes: list[int], k: int, seed: int) -> None:
    k = min(k, *sizes)
    drawn = _distinct(np.array(sizes), k, 7, np.random.default_rng(seed))
    assert drawn.shape == (7, len(sizes), k)
    assert (drawn >= 0).all()
    assert (drawn < np.array(sizes)[:, None]).all()
    ordered = np.sort(drawn, axis=2)
    assert (np.diff(ordered, axis=2) > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_all_images_are_the_data(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    labels, has = random.integers(0, classes, 40), random.random((40, 5)) < 0.4
    found = metrics.attribute_chance(has, labels, np.full(classes, 40), draws=3)
    assert (found.captured_by == has.any(0)).all()
    np.testing.assert_allclose(found.expected, has.sum(0))
    for values in (found.error, found.deviation, found.deviation_pairs, found.deviation_correlation):
        np.testing.assert_allclose(values, 0, atol=1e-9)


def test_one_band_for_all_pairs_holds_in_19_of_20_draws_of_random_images() -> None:
    random = np.random.default_rng(3)
    labels, has = random.integers(0, 4, 2000), random.random((2000, 20)) < random.random(20) * 0.6
    per_class = np.full(4, 10)
    bands = metrics.attribute_chance(has, labels, per_class)
    fresh = metrics.attribute_chance(has, labels, per_class, seed=99, draws=2000)
    for name in ("deviation", "deviation_pairs", "deviation_correlation"):
        limit = metrics.simultaneous_limit(getattr(bands, name))
        assert (getattr(fresh, name) > limit).mean() == pytest.approx(0.05, abs=0.035)
    captured = metrics.chance_band(bands.error)
    assert ((fresh.error < captured.low) | (fresh.error > captured.high)).mean() == pytest.approx(0.05, abs=0.035)


def test_the_same_seed_gives_the_same_draws() -> None:
    has, labels, _ = small()
    one, same = (metrics.attribute_chance(has, labels, np.array([2, 1, 1])) for _ in range(2))
    np.testing.assert_array_equal(one.error, same.error)
    other = metrics.attribute_chance(has, labels, np.array([2, 1, 1]), seed=1)
    assert (one.error != other.error).any()


def test_a_value_against_its_band() -> None:
    band = metrics.chance_band(np.arange(101.0))
    assert (band.mean, band.low, band.high) == pytest.approx((50, 2, 98))
    assert [band.verdict(value, True) for value in (1, 2, 98, 99)] == ["worse", "within", "within", "better"]
    assert [band.verdict(value, False) for value in (1, 50, 99)] == ["better", "within", "worse"]


def test_what_cannot_be_drawn_is_refused() -> None:
    has, labels, _ = small()
    with pytest.raises(ValueError, match="9 labels"):
        metrics.attribute_chance(has, labels[:3], np.array([1]))
    with pytest.raises(ValueError, match="at least one image"):
        metrics.attribute_chance(has, labels, np.zeros(3, int))
