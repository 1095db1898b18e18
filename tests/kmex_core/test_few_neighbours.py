"""Nearest neighbours of a few points, beside those by all distances in float64."""

from __future__ import annotations

import numpy as np
import pytest

from kmex_core.analysis import few_neighbours
from kmex_core.analysis.few_neighbours import nearest_of_few
from kmex_core.analysis.neighbours import nearest


@pytest.mark.parametrize(("points", "anchors", "k"), [(7, 5, 5), (40, 31, 1), (3, 900, 15), (200, 1297, 15), (1, 1, 1)])
def test_they_are_the_nearest(monkeypatch: pytest.MonkeyPatch, points: int, anchors: int, k: int) -> None:
    monkeypatch.setattr(few_neighbours, "BLOCK", 5000)  # several blocks
    random = np.random.default_rng(points)
    given, among = (random.normal(size=(rows, 12)).astype(np.float32) for rows in (points, anchors))
    index, distance = nearest_of_few(given, among, k)
    apart = np.linalg.norm(given[:, None].astype(np.float64) - among[None].astype(np.float64), axis=2)
    np.testing.assert_array_equal(index, np.argsort(apart, axis=1)[:, :k])
    np.testing.assert_allclose(distance, np.sort(apart, axis=1)[:, :k], rtol=1e-5)
    by_torch = nearest(given, among, k)
    np.testing.assert_array_equal(index, by_torch[0])
    np.testing.assert_allclose(distance, by_torch[1], rtol=1e-5)


def test_equally_near_ones_are_in_their_order() -> None:
    anchors = np.repeat(np.eye(3, dtype=np.float32), 40, axis=0)
    index, distance = nearest_of_few(np.eye(3, dtype=np.float32)[1:2], anchors, 40)
    assert index.tolist() == [list(range(40, 80))]
    assert not distance.any()
