from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from kmex_core.metrics import accuracy, activation_counts, agreement, ghosting

labels_of = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50)


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
