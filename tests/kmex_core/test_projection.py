from __future__ import annotations

import numpy as np
import pytest

from kmex_core.analysis import neighbours, projection
from kmex_core.analysis.few_neighbours import nearest_of_few
from kmex_core.analysis.trustworthiness import Placed, trustworthiness
from kmex_core.analysis.types import Projection
from kmex_core.base.errors import InputError
from kmex_core.base.specs import ProjectionSpec
from kmex_core.networks.types import Embeddings


def blobs(count: int, seed: int = 0) -> Embeddings:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centers = np.random.default_rng(99).normal(size=(3, 40)) * 6
    z = (centers[labels] + random.normal(size=(count, 40))).astype(np.float32)
    return Embeddings(z, labels, (labels + 1) % 3)


@pytest.fixture(scope="module")
def drawn() -> Projection:
    seen: list[str] = []
    made = projection.fit(blobs(600), blobs(90, 1), ProjectionSpec("x", 300), lambda event: seen.append(event.text))
    assert "Fitting UMAP" in seen
    return made


def test_the_map_keeps_neighbours_and_places_what_it_was_not_fitted_on(drawn: Projection) -> None:
    labels = np.arange(600) % 3
    assert drawn.train.shape == (600, 2)
    assert drawn.test.shape == (90, 2)
    assert len(drawn.sample) == 300
    assert np.isfinite(drawn.train).all()
    middle = np.stack([drawn.train[drawn.sample][labels[drawn.sample] == label].mean(0) for label in range(3)])
    for places, classes in ((drawn.train, labels), (drawn.test, np.arange(90) % 3)):
        nearest = ((places[:, None] - middle) ** 2).sum(-1).argmin(1)
        assert (nearest == classes).mean() > 0.99
    assert drawn.trustworthiness > 0.7
    assert drawn.placed_trustworthiness is not None


def test_all_training_images_are_fitted_up_to_the_sample_size() -> None:
    train, test = blobs(60), blobs(10, 1)
    made = projection.fit(train, test, ProjectionSpec("x"))
    assert ProjectionSpec("x").sample == 60_000
    np.testing.assert_array_equal(made.sample, np.arange(60))
    assert made.made_by.startswith("umap-learn 0.5")
    judged = trustworthiness(Placed(train.z, made.train), np.arange(60))
    assert made.trustworthiness == pytest.approx(judged, abs=1e-12)
    # test images are judged by their neighbours among the fitted images
    assert made.placed_trustworthiness == pytest.approx(
        trustworthiness(Placed(train.z, made.train), Placed(test.z, made.test)), abs=1e-12
    )


def test_equal_seeds_give_equal_maps(drawn: Projection) -> None:
    again = projection.fit(blobs(600), blobs(90, 1), ProjectionSpec("x", 300))
    np.testing.assert_array_equal(again.train, drawn.train)
    np.testing.assert_array_equal(again.test, drawn.test)


def test_a_fitted_image_is_placed_where_it_is(drawn: Projection) -> None:
    places = projection.place(drawn, blobs(600).z[drawn.sample[:20]])
    # in float32 an image is at a small distance from itself, so that its own place has nearly all the weight
    span = np.ptp(drawn.train, axis=0).max()
    assert np.abs(places - drawn.train[drawn.sample[:20]]).max() < 0.15 * span


def test_places_do_not_depend_on_what_else_is_placed(drawn: Projection) -> None:
    test = blobs(90, 1).z
    together = projection.place(drawn, test)
    alone = np.concatenate([projection.place(drawn, row[None]) for row in test])
    np.testing.assert_allclose(alone, together, atol=1e-4)
    np.testing.assert_allclose(together, drawn.test, atol=1e-4)


def test_memberships_are_those_of_umap_learn() -> None:
    from umap.umap_ import compute_membership_strengths, smooth_knn_dist

    random = np.random.default_rng(0)
    distance = np.sort(random.gamma(2, size=(50, 15)), axis=1).astype(np.float32)
    sigmas, rhos = smooth_knn_dist(distance, 15.0, local_connectivity=0.0)
    index = np.tile(np.arange(15), (50, 1))
    _, _, values, _ = compute_membership_strengths(index, distance, sigmas, rhos, bipartite=True)
    theirs = values.reshape(50, 15)
    np.testing.assert_allclose(
        projection.memberships(distance), theirs / theirs.sum(1, keepdims=True), rtol=2e-3, atol=1e-5
    )


@pytest.mark.parametrize("k", [1, 2, 3, 15])
def test_memberships_sum_to_one_and_fall_with_distance(k: int) -> None:
    distance = np.sort(np.random.default_rng(k).random((20, k)), axis=1)
    distance[0] = 0
    distance[1, 0] = 0
    weight = projection.memberships(distance)
    np.testing.assert_allclose(weight.sum(1), 1)
    assert (np.diff(weight[1:], axis=1) <= 1e-12).all()
    np.testing.assert_allclose(weight[1, 0], 1)


def test_nearest_against_a_full_sort() -> None:
    random = np.random.default_rng(0)
    points, anchors = (random.normal(size=(n, 12)).astype(np.float32) for n in (40, 200))
    index, distance = neighbours.nearest(points, anchors, 7)
    full = np.sqrt(((points[:, None].astype(float) - anchors) ** 2).sum(-1))
    np.testing.assert_array_equal(index, full.argsort(1)[:, :7])
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :7], rtol=1e-5)


def test_neighbours_do_not_depend_on_how_the_search_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    anchors = random.normal(size=(301, 12)).astype(np.float32)  # no multiple of a group
    anchors[200:250] = anchors[50:100]  # equally near ones, of which the first counts
    points = np.concatenate([anchors, random.normal(size=(99, 12)).astype(np.float32)])
    index, distance = neighbours.nearest(points, anchors, 15)
    monkeypatch.setattr(neighbours, "BLOCK", 7 * 320)
    seen: list[int] = []
    again = neighbours.nearest(points, anchors, 15, progress=lambda event: seen.append(event.done))
    assert seen[:3] == [0, 7, 14]
    np.testing.assert_array_equal(again[0], index)
    np.testing.assert_array_equal(again[1], distance)
    full = ((points[:, None].astype(float) - anchors) ** 2).sum(-1).argsort(1, kind="stable")
    np.testing.assert_array_equal(index, full[:, :15])
    without_torch = nearest_of_few(points, anchors, 15)
    np.testing.assert_array_equal(without_torch[0], index)
    np.testing.assert_allclose(without_torch[1], distance, rtol=1e-5, atol=1e-6)
    few = neighbours.nearest(points, anchors[:6], 6)
    np.testing.assert_array_equal(np.sort(few[0], axis=1), np.tile(np.arange(6), (400, 1)))


def test_a_search_can_be_cancelled() -> None:
    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        neighbours.nearest(np.ones((9, 2), np.float32), np.ones((9, 2), np.float32), 3, progress=stop)


def test_the_sample_has_every_class_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [8000, 1990, 10])
    sample = projection.stratified_sample(labels, 1000, np.random.default_rng(0))
    assert np.bincount(labels[sample]).tolist() == [800, 199, 1]
    assert (np.diff(sample) > 0).all()
    np.testing.assert_array_equal(projection.stratified_sample(labels, 20000, np.random.default_rng(0)), range(10000))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="at least 5"):
        projection.fit(blobs(4), blobs(0), ProjectionSpec("x"))
    broken = blobs(30)
    broken.z[3, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        projection.fit(broken, blobs(0), ProjectionSpec("x"))


def test_a_tiny_data_set_has_a_map() -> None:
    made = projection.fit(blobs(12), blobs(0), ProjectionSpec("x"))
    assert np.isfinite(made.train).all()
    assert made.placed_trustworthiness is None
    assert made.labels.tolist() == [0, 1, 2] * 4
    assert made.black_box.tolist() == [1, 2, 0] * 4


def test_points_far_from_every_image_are_marked_wherever_they_land() -> None:
    train, test = blobs(600), blobs(90, 1)
    away = np.random.default_rng(5).normal(size=(20, 40))
    far = (train.z.mean(0) + 30 * away / np.linalg.norm(away, axis=1, keepdims=True)).astype(np.float32)
    mixed = Embeddings(np.concatenate([test.z, far]), np.arange(110) % 3, np.arange(110) % 3)
    drawn = projection.fit(train, mixed, ProjectionSpec("x", 300))
    marked = drawn.far[600:]
    assert marked[90:].all()
    assert marked[:90].mean() < 0.2
    inside = (drawn.test[90:] >= drawn.train.min(0)).all() and (drawn.test[90:] <= drawn.train.max(0)).all()
    assert inside  # which is why they are marked
    # the limit by hand: 99% of the fitted images are nearer to another one, up to what principal components leave out
    z = train.z[drawn.sample].astype(float)
    apart = np.linalg.norm(z[:, None] - z, axis=2) + np.diag(np.full(len(z), np.inf))
    assert drawn.limit == pytest.approx(np.quantile(apart.min(1), 0.99), rel=0.02)
    assert drawn.far[drawn.sample].sum() == 3  # 1% of 300
    assert (projection.located(drawn, far)[1] > drawn.limit).all()
    assert (projection.located(drawn, train.z[drawn.sample])[1] < 0.05 * drawn.limit).all()
