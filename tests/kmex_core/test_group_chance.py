"""The chance level of groups' accuracy, against every way that the errors can fall and hypergeometric probabilities."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from kmex_core import metrics
from kmex_core.analysis.tables.attributes import group_families

HAS = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1], [0, 0, 1]], bool)
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1])
RIGHT = np.array([0, 0, 1, 1, 1, 0, 1, 1], bool)


def test_it_is_what_every_way_that_the_errors_can_fall_gives() -> None:
    groups = metrics.group_accuracy(RIGHT, HAS).groups
    found = metrics.group_chance(RIGHT, LABELS, HAS, groups, draws=4000)
    accuracies = []
    for first, second in itertools.product(itertools.combinations(range(5), 2), itertools.combinations(range(5, 8), 1)):
        right = np.ones(8, bool)
        right[[*first, *second]] = False
        accuracies.append([right[HAS[:, one] & HAS[:, other]].mean() for one, other in groups])
    every = np.array(accuracies)  # (ways, G), equally likely
    np.testing.assert_allclose(found.expected, every.mean(0))
    np.testing.assert_allclose(found.deviation, every.std(0), atol=1e-12)
    spread = found.deviation > 0
    farthest = (np.abs(every - every.mean(0))[:, spread] / every.std(0)[spread]).max(1)
    assert np.isin(np.round(found.farthest, 9), np.round(farthest, 9)).all(), "no draw is anything but one of the ways"
    assert found.farthest.mean() == pytest.approx(farthest.mean(), abs=5 * farthest.std() / np.sqrt(4000))


def test_errors_in_a_group_are_hypergeometric() -> None:
    random = np.random.default_rng(2)
    has, right = random.random((300, 2)) < 0.3, random.random(300) < 0.8
    found = metrics.group_chance(right, np.zeros(300, int), has, np.array([[0, 0], [0, 1]]))
    for group, images in enumerate((has[:, 0].sum(), has.all(1).sum())):
        wrong = hypergeom(300, (~right).sum(), images)
        assert found.expected[group] == pytest.approx(1 - wrong.mean() / images)
        assert found.deviation[group] == pytest.approx(wrong.std() / images)


def test_a_hard_class_is_no_finding_and_a_planted_group_is() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 2000)
    has = np.stack([labels == 1, random.random(2000) < 0.1], 1)
    groups = np.array([[0, 0], [1, 1]])
    hard = random.random(2000) < np.where(labels == 1, 0.5, 0.95)
    found = metrics.group_chance(hard, labels, has, groups)
    assert found.deviation[0] == 0, "a whole class has the errors that it has"
    assert found.expected[0] == pytest.approx(hard[labels == 1].mean())
    planted = metrics.group_chance(hard & ~has[:, 1], labels, has, groups)
    assert planted.low[1] > 0, "none of the group's images is right, which chance does not give"


def test_in_95_percent_of_tables_without_a_cause_no_group_is_beyond_the_band() -> None:
    random = np.random.default_rng(4)
    beyond = 0
    for _ in range(200):
        has, labels = random.random((400, 6)) < 0.3, random.integers(0, 2, 400)
        right = random.random(400) < 0.85
        groups = metrics.group_accuracy(right, has, 5)
        chance = metrics.group_chance(right, labels, has, groups.groups, draws=100)
        beyond += bool((np.abs(groups.accuracy - chance.expected) > chance.limit * chance.deviation).any())
    assert beyond <= 21, "more than 5% of 200, three standard errors"


def test_without_an_error_nothing_is_beyond_chance() -> None:
    found = metrics.group_chance(np.ones(8, bool), LABELS, HAS, np.array([[0, 0]]))
    assert (found.expected[0], found.deviation[0], found.limit) == (1, 0, 0)
    with pytest.raises(ValueError, match="as many labels"):
        metrics.group_chance(RIGHT, LABELS[:3], HAS, np.array([[0, 0]]))


def test_pairs_are_folded_below_their_worse_attribute() -> None:
    rows = [("Hat", "Tie"), ("Hat", "Cap"), ("Hat", ""), ("Cap", ""), ("Cap", "Tie"), ("Tie", "")]
    table = pd.DataFrame(rows, columns=["attribute", "other"])
    assert group_families(table) == [(2, [0, 1]), (3, [4]), (5, [])]
    every = sorted(row for single, pairs in group_families(table) for row in (single, *pairs))
    assert every == list(range(6)), "every group is there once"
    assert group_families(table.iloc[:0]) == []
