from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as scikit_learn

from kmex_core.analysis.trustworthiness import Placed, trustworthiness


def placed(count: int, seed: int = 0) -> Placed:
    """Points far from the origin, and a map that keeps one of their 20 directions."""
    random = np.random.default_rng(seed)
    points = (random.normal(size=(count, 20)) + 50).astype(np.float32)
    places = random.normal(size=(count, 2)).astype(np.float32)
    places[:, 0] += points[:, 0]
    return Placed(points, places)


@pytest.mark.parametrize(("count", "k"), [(600, 12), (600, 5), (31, 12), (12, 5)])
def test_with_all_points_judged_it_is_that_of_scikit_learn(count: int, k: int) -> None:
    among = placed(count)
    theirs = scikit_learn(among.points - 50, among.places, n_neighbors=k)
    assert trustworthiness(among, np.arange(count), k) == pytest.approx(theirs, abs=2e-5)


def test_a_sample_is_judged_against_all() -> None:
    among = placed(600)
    parts = [trustworthiness(among, np.arange(start, start + 100)) for start in range(0, 600, 100)]
    assert np.mean(parts) == pytest.approx(trustworthiness(among, np.arange(600)), abs=1e-12)
    # against the sample alone it is another figure
    alone = trustworthiness(among[np.arange(100)], np.arange(100))
    assert abs(alone - parts[0]) > 0.001


def test_other_points_are_judged_by_their_ranks_among_all() -> None:
    among, others = placed(200), placed(40, 1)
    k, penalty = 7, 0
    for z, place in zip(others.points.astype(float), others.places.astype(float), strict=True):
        order = np.linalg.norm(among.points - z, axis=1).argsort().tolist()
        for near in np.linalg.norm(among.places - place, axis=1).argsort()[:k].tolist():
            penalty += max(0, order.index(near) + 1 - k)
    expected = 1 - penalty / (40 * k * (2 * 200 - 3 * k + 1) / 2)
    assert trustworthiness(among, others, k) == pytest.approx(expected, abs=1e-9)


def test_a_map_that_is_the_embedding_is_trusted_and_the_worst_is_not() -> None:
    random = np.random.default_rng(0)
    plane = random.normal(size=(300, 2)).astype(np.float32)
    assert trustworthiness(Placed(plane, plane), np.arange(300)) == 1
    # on a line, the places of distant halves swapped
    line = np.stack([np.arange(300), np.zeros(300)], 1).astype(np.float32)
    assert trustworthiness(Placed(line, line[random.permutation(300)]), np.arange(300)) < 0.6


def test_few_points_and_equal_points_have_a_figure() -> None:
    few = placed(5)
    assert 0 <= trustworthiness(few, np.arange(5)) <= 1
    same = Placed(np.ones((50, 4), np.float32), np.zeros((50, 2), np.float32))
    assert trustworthiness(same, np.arange(50)) == 1


def test_judging_can_be_cancelled() -> None:
    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trustworthiness(placed(50), np.arange(50), progress=stop)
