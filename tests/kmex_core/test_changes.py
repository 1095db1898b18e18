"""What changes from one model to another on the same images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from kmex_core.analysis.changes import NONE, class_changes, prototype_changes, shared_images

CLASSES = np.array([0, 0, 0, 1, 1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=40))
def test_prototypes_are_matched_so_that_they_share_most_images(images: list[tuple[int, int, int]]) -> None:
    a, b, labels = np.array(images).T
    found = prototype_changes((a, b), (CLASSES, CLASSES), labels)
    for label in np.unique(labels):
        of_class = np.flatnonzero(label == CLASSES)
        rows = labels == label
        # every assignment of the class's prototypes, counted by hand
        shared = [
            sum(int((rows & (a == p) & (b == q)).sum()) for p, q in zip(of_class, order, strict=True))
            for order in itertools.permutations(of_class)
        ]
        matched = sum(int((rows & (a == p) & (b == found.match[p])).sum()) for p in of_class if found.match[p] != NONE)
        assert matched == max(shared)
        match = found.match[of_class]
        assert len(set(match[match != NONE])) == (match != NONE).sum()
    assert [bool(each) for each in found.changed] == [found.match[p] != q for p, q in zip(a, b, strict=True)]


def test_the_same_prototypes_in_another_order_change_nothing() -> None:
    labels = np.repeat([0, 1], [30, 20])
    a = np.where(labels == 0, np.arange(50) % 3, 3 + np.arange(50) % 2)
    b = np.array([2, 0, 1, 4, 3])[a]
    found = prototype_changes((a, b), (CLASSES, CLASSES), labels)
    assert found.match.tolist() == [2, 0, 1, 4, 3]
    assert not found.changed.any()
    assert found.rand_index == pytest.approx(1)


def test_the_index_is_that_of_the_classes() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [300, 100])
    a, b = (np.where(labels == 0, random.integers(0, 3, 400), 3 + random.integers(0, 2, 400)) for _ in range(2))
    by_class = [adjusted_rand_score(a[labels == label], b[labels == label]) for label in (0, 1)]
    found = prototype_changes((a, b), (CLASSES, CLASSES), labels)
    assert found.rand_index == pytest.approx(np.average(by_class, weights=[300, 100]))
    assert abs(found.rand_index) < 0.05, "chance is 0"
    single = prototype_changes((labels, labels), (np.array([0, 1]), np.array([0, 1])), labels)
    assert np.isnan(single.rand_index)
    assert single.match.tolist() == [0, 1]


def test_prototypes_of_other_classes_are_counted_together() -> None:
    nearest = np.array([0, 0, 4, 2]), np.array([1, 3, 1, 0])
    counts = shared_images(nearest, (np.array([0, 1]), np.array([1])), np.array([True, True, True, False]))
    assert counts.tolist() == [[1, 1], [0, 0], [1, 0]]
    nothing = shared_images(nearest, (np.array([], int), np.array([1])), np.ones(4, bool))
    assert nothing.tolist() == [[2, 2]]


def test_the_worst_changes_come_first() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    before, after = np.array([0, 0, 1, 1, 1, 0]), np.array([1, 1, 0, 2, 1, 0])
    confidence = np.array([0.6, 0.9, 0.99, 0.5, 0.9, 0.9])
    # lost, the surer first; then wrong either way; then gained; images that stay are left out
    assert class_changes(labels, before, after, confidence).tolist() == [1, 0, 3, 2]
