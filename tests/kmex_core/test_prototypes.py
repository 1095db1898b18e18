from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from kmex_core.base.errors import InputError
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes import fit
from kmex_core.prototypes import fit as module
from kmex_core.prototypes.fit import activated, attracted, fit_prototypes, pairwise
from kmex_core.prototypes.types import NO_IMAGE, Prototypes, fewer_prototypes

NAMES = ("ant", "bee", "cat")


def embeddings(sizes: tuple[int, ...] = (30, 20, 25), d: int = 6, seed: int = 0, spread: float = 1.5) -> Embeddings:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    random.shuffle(labels)
    z = random.normal(size=(len(labels), d)) + spread * random.normal(size=(len(sizes), d))[labels]
    return Embeddings(z.astype(np.float32), labels, labels.copy())


@pytest.mark.parametrize("rows", [7, 16384])
def test_what_prototypes_stand_for_agrees_with_slow_loops(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", rows)
    found = embeddings(spread=0.7)
    made = fit_prototypes(found, NAMES, 4)
    distance = np.array([[np.linalg.norm(z.astype(float) - p) for p in made.centers] for z in found.z])
    nearest = distance.argmin(1)
    assert made.classes.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for k in range(12):
        own = [i for i in range(len(found)) if found.labels[i] == made.classes[k]]
        activating = [i for i in own if nearest[i] == k]
        assert made.count[k] == len(activating)
        assert made.importance[k] == pytest.approx(len(activating) / len(own))
        assert made.count_all[k] == (nearest == k).sum()
        ranked = sorted(own, key=lambda i: distance[i, k])
        assert made.nearest[k].tolist() == ranked[: module.NEAREST]
        np.testing.assert_allclose(made.nearest_distance[k], distance[ranked[: module.NEAREST], k], rtol=1e-5)
        assert made.nearest_any[k] == distance[:, k].argmin()
    np.testing.assert_allclose(
        made.distance_quantiles[[0, 50, 99, 100]], np.quantile(distance.min(1), [0, 0.5, 0.99, 1]), rtol=1e-5
    )
    assert made.class_size.tolist() == [30, 20, 25]
    np.testing.assert_array_equal(activated(found.z, made.centers), nearest)


def test_with_few_images_the_rest_is_marked() -> None:
    made = fit_prototypes(embeddings((3, 20, 20)), NAMES, 2)
    assert (made.nearest[:2, 3:] == NO_IMAGE).all()
    assert np.isinf(made.nearest_distance[:2, 3:]).all()
    assert (made.nearest[:, 0] != NO_IMAGE).all()


def test_as_many_prototypes_as_images_are_the_images() -> None:
    found = embeddings((5, 5, 5))
    made = fit_prototypes(found, NAMES, 5)
    np.testing.assert_allclose(made.nearest_distance[:, 0], 0, atol=1e-5)
    assert sorted(made.exemplar.tolist()) == list(range(15))
    assert not made.ghost.any()


def test_the_typical_distance_is_the_99th_percentile() -> None:
    found = embeddings((400, 300, 300))
    made = fit_prototypes(found, NAMES, 3)
    nearest = np.linalg.norm(found.z[:, None] - made.centers, axis=2).min(1)
    assert np.mean(nearest > made.typical_distance) == pytest.approx(0.01, abs=0.002)


def test_equal_seeds_give_equal_prototypes_and_order_within_a_class_is_by_size() -> None:
    found = embeddings((300, 200, 100), spread=6)
    one, other = fit_prototypes(found, NAMES, 4, seed=3), fit_prototypes(found, NAMES, 4, seed=3)
    for field in dataclasses.fields(Prototypes):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    assert (np.diff(one.count.reshape(3, 4), axis=1) <= 0).all()
    assert one.importance.reshape(3, 4).sum(1) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("sizes", "k", "message"),
    [
        ((20, 0, 20), 2, r"Classes without images: 'bee'\."),
        ((5, 0, 0), 2, "'bee', 'cat'"),
        ((5, 5, 5), 0, "at least 1 prototype"),
    ],
)
def test_a_class_without_images_is_named(sizes: tuple[int, ...], k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_prototypes(embeddings(sizes), NAMES, k)


@pytest.mark.parametrize(
    ("sizes", "k", "counts", "said"),
    [
        ((3, 20, 20), 4, [3, 4, 4], "Fewer than 4 prototypes for 'ant' (3):"),
        ((5, 4, 2), 5, [5, 4, 2], "'bee' (4), 'cat' (2)"),
        ((1, 1, 30), 20, [1, 1, 20], "'ant' (1), 'bee' (1)"),
        ((1, 1, 1), 7, [1, 1, 1], "'ant' (1), 'bee' (1), 'cat' (1)"),
        ((6, 6, 6), 6, [6, 6, 6], ""),
    ],
)
def test_a_class_has_no_more_prototypes_than_images(
    sizes: tuple[int, ...], k: int, counts: list[int], said: str
) -> None:
    made = fit_prototypes(embeddings(sizes), NAMES, k)
    assert np.bincount(made.classes).tolist() == counts
    assert (np.diff(made.classes) >= 0).all()
    assert made.importance.max() <= 1
    words = fewer_prototypes(made, NAMES, k)
    assert said in words
    assert bool(words) == bool(said)


def test_a_small_class_does_not_change_the_others() -> None:
    whole = embeddings((30, 20, 25))
    rows = np.concatenate([np.flatnonzero(whole.labels != 1), np.flatnonzero(whole.labels == 1)[:2]])
    few = Embeddings(whole.z[rows], whole.labels[rows], whole.black_box[rows])
    before, made = fit_prototypes(whole, NAMES, 5), fit_prototypes(few, NAMES, 5)
    for label in (0, 2):
        np.testing.assert_array_equal(made.centers[made.classes == label], before.centers[before.classes == label])


def test_equal_images_are_told_from_different_ones() -> None:
    found = embeddings()
    bees = np.flatnonzero(found.labels == 1)
    found.z[bees] = found.z[bees][:1]
    made = fit_prototypes(found, NAMES, 4)
    assert np.bincount(made.classes).tolist() == [4, 1, 4]
    found.z[bees[:7]] += 1
    found.z[bees[7:9]] -= 2
    made = fit_prototypes(found, NAMES, 4)
    assert np.bincount(made.classes).tolist() == [4, 3, 4]
    assert len(np.unique(made.centers[made.classes == 1], axis=0)) == 3
    assert "'bee' (3)" in fewer_prototypes(made, NAMES, 4)


def test_embeddings_that_are_not_finite_and_labels_out_of_range_are_refused() -> None:
    found = embeddings()
    found.z[4, 2] = np.nan
    with pytest.raises(InputError, match="1 of 75 embeddings are not finite"):
        fit_prototypes(found, NAMES, 2)
    with pytest.raises(InputError, match="Expected labels from 0 to 1, got 0 to 2"):
        fit_prototypes(embeddings(), NAMES[:2], 2)


def test_distances_are_exact_where_the_matrix_product_is_not() -> None:
    z = torch.randn(60, 512, generator=torch.Generator().manual_seed(0)) * 3 + 5
    assert (pairwise(z, z).diagonal() == 0).all()
    by_product = torch.cdist(z, z, compute_mode="use_mm_for_euclid_dist")
    assert by_product.diagonal().max() > 1e-3, "the effect that the exact way avoids"


@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_many_distances_are_exact_as_well(mean: float, monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    z = torch.randn(300, 24, generator=random) + mean
    near = z[:20] + 1e-3 * torch.randn(20, 24, generator=random)
    centers = torch.cat([z[100:120], near, torch.randn(20, 24, generator=random) + mean])
    exact = (z[:, None].double() - centers[None].double()).square().sum(2).sqrt()
    monkeypatch.setattr(fit, "MANY", 1)
    found = pairwise(z, centers)
    assert found.dtype == z.dtype
    assert torch.equal(found == 0, exact == 0)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)
    product = torch.cdist(z, centers, compute_mode="use_mm_for_euclid_dist")
    assert not torch.allclose(product.double(), exact, rtol=1e-6, atol=0), "the plain product is not"


def test_what_a_prototype_attracts_by_hand() -> None:
    z = np.array([[0.0, 0], [0.2, 0], [0.1, 0], [5, 0], [4.5, 0], [0.3, 0]], dtype=np.float32)
    embeddings = Embeddings(z, np.array([0, 0, 0, 1, 1, 1]), np.zeros(6, dtype=np.int64))
    found = fit_prototypes(embeddings, ("a", "b"), 1)
    assert found.activated.tolist() == [0, 0, 0, 1, 1, 0]
    own, others = attracted(embeddings, found, 0)
    assert own.tolist() == [2, 0, 1] or own.tolist() == [2, 1, 0]
    assert others.tolist() == [5]
    assert [part.tolist() for part in attracted(embeddings, found, 1)] == [[4, 3], []]
