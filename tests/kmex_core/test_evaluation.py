"""The pass over images that all metrics on maps share, against slow loops that share no code with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from kmex_core import KMEx
from kmex_core.base.errors import KMExError
from kmex_core.base.progress import Event
from kmex_core.metrics import on_maps
from kmex_core.metrics.faithfulness import Divergences
from kmex_core.metrics.on_maps import Decider, map_scores
from kmex_core.metrics.types import MapScores
from kmex_core.prototypes.fit import class_members
from kmex_core.prototypes.temperature import Temperature
from kmex_core.relevance.catalogue import METHODS
from kmex_core.relevance.lrp import lrp_of
from tests.helpers.pictures import striped

SIZE, STEPS = 12, 6
PRP = METHODS["prp"].make()


def network(classes: int, size: int = SIZE) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 10, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2 if size > 1 else 1),
        nn.Flatten(),
        nn.Linear(40 if size > 1 else 10, classes),
    ).eval()


def images(classes: int, count: int, size: int = SIZE) -> tuple[Tensor, Tensor]:
    pixels = np.concatenate([striped(label, count, SIZE, 3) for label in range(classes)])[:, :size, :size]
    return torch.from_numpy(pixels / 255).permute(0, 3, 1, 2).float(), torch.arange(classes).repeat_interleave(count)


@pytest.fixture
def model() -> KMEx:
    x, y = images(3, 20)
    return KMEx.convert(network(3), [(x, y)], k=2, metric="euclidean")


def some(x: Tensor, y: Tensor, by: int = 64) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    order = np.arange(len(x))
    for at in range(0, len(x), by):
        yield order[at : at + by], x[at : at + by], y[at : at + by]


def scored(model: KMEx, x: Tensor, y: Tensor, by: int = 64, seed: int = 0) -> MapScores:
    return map_scores(model, some(x, y, by), baseline(x), PRP, "similarity", seed=seed, steps=STEPS)


def baseline(x: Tensor) -> Tensor:
    return torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(1))


def test_against_slow_loops(model: KMEx) -> None:
    x, y = images(3, 4)
    base = baseline(x)
    found = scored(model, x, y)
    assert found.conserving == 1
    assert model.pixel_range is not None
    low, high = model.pixel_range
    lrp = lrp_of(model.encoder, low, high, (3, SIZE, SIZE))
    pixels = SIZE * SIZE

    def says(image: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Similarities and probabilities, by the formulas."""
        with torch.no_grad():
            z = model.encoder(image[None])[0].double().numpy()
            scores = model.head(model.encoder(image[None]))[0].double().numpy()
        squares = ((z - model.prototypes.double().numpy()) ** 2).sum(1)
        s = np.log((squares + 1) / (squares + 1e-4))
        shares = np.exp(s) / np.exp(s).sum()
        return s, shares, np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()

    def distance(similarity: float) -> float:
        """That gives it: s = log((d² + 1) / (d² + ε))."""
        return float(np.sqrt(max(0.0, (1 - 1e-4 * np.exp(similarity)) / (np.exp(similarity) - 1))))

    def with_pixels(image: Tensor, order: np.ndarray, count: int) -> Tensor:
        flat, out = image.reshape(3, -1), base.clone().reshape(3, -1)
        for pixel in order[:count]:
            out[:, pixel] = flat[:, pixel]
        return out.reshape(3, SIZE, SIZE)

    def apart(one: np.ndarray, other: np.ndarray) -> float:
        return float(scipy.stats.entropy(np.abs(one).max(0).ravel(), np.abs(other).max(0).ravel()))

    predicted_maps: list[tuple[np.ndarray, np.ndarray]] = []  # of the black box's class, by the model and by it
    for i in range(len(x)):
        s, shares, black = says(x[i])
        second = int(np.argsort(-black)[1])
        y_model, y_black = int(model.prototype_class[s.argmax()]), int(black.argmax())
        own = [p for p in range(6) if model.prototype_class[p] == y[i]]
        z = model.encoder(x[i : i + 1]).detach()
        maps = {}
        for p in range(6):
            # the share of each dimension, by the formula, and one pass for one prototype
            share = 1 / ((z[0] - model.prototypes[p]).double() ** 4 + 1e-12)
            maps[p] = lrp.maps(x[i : i + 1], (share / share.sum()).float()[None])[0][0].numpy()
        for slot, p in enumerate(own):
            order = np.argsort(-maps[p].sum(0).ravel(), kind="stable")
            after = says(with_pixels(x[i], order, pixels - pixels // 2))[0][p]
            assert found.drop[i, slot] == pytest.approx(max(0, s[p] - after) / s[p], abs=1e-4)
            assert found.increase[i, slot] == (after > s[p] * (1 + 1e-5))
            unsquared = [np.log((d + 1) / (d + 1e-4)) for d in map(distance, (s[p], after))]
            assert found.drop_reference[i, slot] == pytest.approx(max(0, 1 - unsquared[1] / unsquared[0]), abs=2e-4)
            assert found.increase_reference[i, slot] == (unsquared[1] > unsquared[0] * (1 + 1e-5))
            rank = np.random.default_rng([0, i]).permutation(pixels)
            after = says(with_pixels(x[i], np.argsort(rank), pixels - pixels // 2))[0][p]
            assert found.drop_random[i, slot] == pytest.approx(max(0, s[p] - after) / s[p], abs=1e-4)
            assert found.increase_random[i, slot] == (after > s[p] * (1 + 1e-5))
        mine = {
            c: sum(shares[p] * maps[p] for p in range(6) if model.prototype_class[p] == c)
            for c in {y_model, y_black, second}
        }
        weights = (z * model.get_parameter("head.weight")[y_black]).detach()
        theirs = lrp.maps(x[i : i + 1], weights)[0][0].numpy()
        divergence = scipy.stats.entropy(np.abs(mine[y_black]).max(0).ravel(), np.abs(theirs).max(0).ravel())
        assert found.divergence[i] == pytest.approx(divergence, rel=1e-3, abs=1e-5)
        predicted_maps.append((mine[y_black], theirs))
        assert found.divergence_uniform[i] == pytest.approx(apart(np.ones_like(theirs), theirs), rel=1e-3, abs=1e-5)
        assert found.divergence_runner_up[i] == pytest.approx(apart(mine[second], theirs), rel=1e-3, abs=1e-5)
        order = np.argsort(-theirs.sum(0).ravel(), kind="stable")
        after = says(with_pixels(x[i], order, pixels - pixels // 2))[2][y_black]
        assert found.drop_black_box[i] == pytest.approx(max(0, black[y_black] - after) / black[y_black], abs=1e-4)
        rank = np.random.default_rng([0, i]).permutation(pixels)
        after = says(with_pixels(x[i], np.argsort(rank), pixels - pixels // 2))[2][y_black]
        lost = max(0, black[y_black] - after) / black[y_black]
        assert found.drop_black_box_random[i] == pytest.approx(lost, abs=1e-4)
        assert found.increase_black_box_random[i] == (after > black[y_black] * (1 + 1e-5))
        curve = [says(with_pixels(x[i], order, round(pixels * step / STEPS)))[2][y_black] for step in range(STEPS + 1)]
        assert found.curve_black_box[i] == pytest.approx(np.array(curve), abs=1e-4)
        order = np.argsort(-mine[y_model].sum(0).ravel(), kind="stable")
        inside = model.prototype_class.numpy() == y_model
        curve = [
            says(with_pixels(x[i], order, round(pixels * step / STEPS)))[1][inside].sum() for step in range(STEPS + 1)
        ]
        assert found.curve[i] == pytest.approx(np.array(curve), abs=1e-4)
        assert found.curve[i, -1] == pytest.approx(shares[inside].sum(), rel=1e-5)  # it ends at the whole image
        assert found.curve_random[i, [0, -1]] == pytest.approx(found.curve[i, [0, -1]], abs=1e-6)
    for i, (_, theirs) in enumerate(predicted_maps):  # the image before; of the first one, the last
        other = predicted_maps[i - 1][0]
        assert found.divergence_other_image[i] == pytest.approx(apart(other, theirs), rel=1e-3, abs=1e-5)


def test_relevance_ordering_is_of_the_posterior_and_as_published_of_the_softmax_of_similarities(model: KMEx) -> None:
    x, y = images(3, 4)
    published = scored(model, x, y)
    np.testing.assert_array_equal(published.curve_reference, published.curve)  # without a temperature
    warm = copy.deepcopy(model)
    warm.temperature = Temperature(3.0, (3.0, 3.0), 9, False)
    found = scored(warm, x, y)
    with torch.no_grad():
        z = warm.encode(x)
        squares = ((z[:, None].double() - warm.prototypes.double()) ** 2).sum(2).numpy()
    weights = np.stack([np.exp(-squares / 3)[:, warm.prototype_class.numpy() == c].mean(1) for c in range(3)], 1)
    expected = (weights / weights.sum(1, keepdims=True))[np.arange(12), warm.prototype_class.numpy()[squares.argmin(1)]]
    np.testing.assert_allclose(found.curve[:, -1], expected, rtol=1e-4)
    np.testing.assert_allclose(found.curve_reference[:, [0, -1]], published.curve[:, [0, -1]], rtol=1e-5)
    assert np.abs(found.curve - found.curve_reference).max() > 0.01


@pytest.mark.parametrize("metric", ["whitened", "cosine"])
def test_the_published_drop_is_of_distances_in_the_embedding_whatever_the_metric(metric: str) -> None:
    x, y = images(3, 20)
    model = KMEx.convert(network(3), [(x, y)], k=1, metric=metric)
    with torch.no_grad():
        z = model.encoder(x).double().numpy()
        found = model.reference_similarity(model.encoder(x)).numpy()
    # one prototype per class is the class's mean: of the embeddings, or of their directions, at their mean length
    for label in range(3):
        of_class = z[y.numpy() == label]
        if metric == "cosine":
            of_class = of_class / np.linalg.norm(of_class, axis=1, keepdims=True) * np.linalg.norm(z, axis=1).mean()
        distance = np.linalg.norm(z - of_class.mean(0), axis=1)
        np.testing.assert_allclose(found[:, label], np.log((distance + 1) / (distance + 1e-4)), rtol=2e-3)


def same(one: MapScores, other: MapScores) -> None:
    for name, values in one.to_arrays().items():
        assert other.to_arrays()[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name


def test_batches_and_order_change_nothing(model: KMEx, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images(3, 8)
    whole = scored(model, x, y)
    same(whole, scored(model, x, y, by=5))
    monkeypatch.setattr(on_maps, "BATCH", 3)
    monkeypatch.setattr(on_maps, "PIXELS_AT_ONCE", 1)
    same(whole, scored(model, x, y))
    order = np.random.default_rng(0).permutation(len(x))
    mixed = map_scores(model, [(order, x[order], y[order])], baseline(x), PRP, "similarity", steps=STEPS)
    assert (mixed.images == np.arange(len(x))).all()
    assert (mixed.divergence_other_image != whole.divergence_other_image).any(), "the order decides which is before"
    same(whole, replace(mixed, divergence_other_image=whole.divergence_other_image))


def test_equal_seeds_give_equal_numbers(model: KMEx) -> None:
    x, y = images(3, 3)
    one, again, other = scored(model, x, y), scored(model, x, y), scored(model, x, y, seed=1)
    for name, values in one.to_arrays().items():
        assert np.array_equal(values, again.to_arrays()[name], equal_nan=True)
        if "random" not in name:
            assert np.array_equal(values, other.to_arrays()[name], equal_nan=True)
    assert not np.allclose(one.curve_black_box_random, other.curve_black_box_random)


def test_the_order_of_prototypes_changes_nothing(model: KMEx) -> None:
    x, y = images(3, 4)
    before = scored(model, x, y)
    order = torch.tensor([4, 1, 5, 0, 2, 3])
    model.prototypes, model.prototype_class = model.prototypes[order], model.prototype_class[order]
    after = scored(model, x, y)
    assert np.sort(after.drop, 1) == pytest.approx(np.sort(before.drop, 1), rel=1e-4, abs=1e-6)
    assert after.divergence == pytest.approx(before.divergence, rel=1e-4, abs=1e-6)
    assert after.curve == pytest.approx(before.curve, rel=1e-4)


def test_a_mask_that_removes_nothing_loses_and_gains_nothing(model: KMEx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_maps, "LEAST", 0.0)
    x, y = images(3, 3)
    found = scored(model, x, y)
    for values in (found.drop, found.drop_random, found.drop_reference, found.drop_black_box):
        assert values == pytest.approx(np.zeros(values.shape), abs=1e-5)
    assert (found.increase == 0).all()
    assert (found.increase_black_box == 0).all()


def test_a_constant_image_loses_at_random_what_it_loses_by_relevance(model: KMEx) -> None:
    """Where the replacement is the image itself, no choice of pixels changes anything."""
    x = torch.full((3, 3, SIZE, SIZE), 0.4)
    found = map_scores(model, some(x, torch.arange(3)), x[0], PRP, "similarity", steps=STEPS)
    for values in (found.drop, found.drop_random, found.drop_reference, found.drop_black_box_random):
        assert values == pytest.approx(np.zeros(values.shape), abs=1e-5)
    assert (found.increase_random == 0).all()


def test_divergences_in_closed_form() -> None:
    """A uniform map's is −log(pixels) minus the mean log of the black box's map; of equal maps all others are 0."""
    random = np.random.default_rng(0)
    maps = torch.from_numpy(random.random((5, 1, 4, 4)) + 0.1)
    whole, parts = Divergences(), Divergences()
    whole.add(maps, maps, maps)
    for row in range(5):
        parts.add(maps[row : row + 1], maps[row : row + 1], maps[row : row + 1])
    found = whole.result()
    shares = maps.numpy().reshape(5, 16) / maps.numpy().sum((1, 2, 3))[:, None]
    np.testing.assert_allclose(found["divergence_uniform"], -np.log(16) - np.log(shares).mean(1))
    np.testing.assert_allclose(found["divergence_runner_up"], 0, atol=1e-12)
    before = np.roll(shares, 1, 0)
    np.testing.assert_allclose(found["divergence_other_image"], (before * np.log(before / shares)).sum(1))
    for name, values in parts.result().items():
        np.testing.assert_allclose(values, found[name], atol=1e-12)
    alone = Divergences()
    alone.add(maps[:1], maps[:1], maps[:1])
    assert np.isnan(alone.result()["divergence_other_image"]).all()


def test_images_of_one_pixel() -> None:
    x, y = images(2, 20, size=1)
    model = KMEx.convert(network(2, size=1), [(x + torch.rand(40, 3, 1, 1), y)], k=2)
    found = map_scores(model, some(x[::10], y[::10]), torch.zeros(3, 1, 1), PRP, "similarity", steps=2)
    assert np.abs(found.drop).max() < 1e-5  # half of one pixel is none
    assert found.divergence == pytest.approx(np.zeros(4), abs=1e-9)


def test_one_class_with_one_prototype() -> None:
    x, _ = images(1, 20)
    model = KMEx.convert(network(1), [(x, torch.zeros(20, dtype=torch.int64))], k=1, class_names=["0"])
    found = scored(model, x[:4], torch.zeros(4, dtype=torch.int64))
    assert found.drop.shape == (4, 1)
    assert found.curve == pytest.approx(np.ones((4, STEPS + 1)))  # there is no other class


def test_maps_without_any_relevance(model: KMEx) -> None:
    with torch.no_grad():
        for part in model.encoder.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.zero_()
    x, y = images(3, 2)
    found = scored(model, x, y)
    assert found.conserving == 0
    assert (found.divergence == 0).all()
    assert (found.divergence_uniform == 0).all(), "a map without relevance counts as uniform"
    assert found.drop == pytest.approx(np.zeros((6, 2)), abs=1e-6)
    assert np.isfinite(found.curve).all()


def test_a_network_without_rules_is_refused(model: KMEx) -> None:
    model.encoder = nn.Sequential(model.encoder, nn.GELU())
    x, y = images(3, 2)
    assert "no rules" in PRP.why_not(model, (3, SIZE, SIZE))
    with pytest.raises(KMExError, match="no rules for Sequential"):
        scored(model, x, y)


def test_no_images_are_refused(model: KMEx) -> None:
    with pytest.raises(KMExError, match="no images"):
        map_scores(model, [], torch.zeros(3, SIZE, SIZE), PRP, "similarity")


def test_it_can_be_stopped(model: KMEx) -> None:
    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    x, y = images(3, 2)
    with pytest.raises(KeyboardInterrupt):
        map_scores(model, some(x, y), baseline(x), PRP, "similarity", progress=stop)


class DotProduct:
    """A model that compares by dot products, some of them below 0."""

    def __init__(self, kmex: KMEx) -> None:
        self.encoder, self.head, self.pixel_range = kmex.encoder, kmex.head, kmex.pixel_range
        self.pixel_mean = kmex.pixel_mean
        self.rows = torch.cat([kmex.prototypes[:3], -kmex.prototypes[3:]])
        self.prototype_class = torch.tensor([0, 1, 2, 0, 1, 1])

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def similarity(self, z: Tensor) -> Tensor:
        return z @ self.rows.T

    reference_similarity = similarity

    def classify(self, similarity: Tensor) -> Tensor:
        return torch.stack([similarity[:, self.prototype_class == c].sum(1) for c in range(3)], 1)

    def posterior(self, z: Tensor) -> Tensor:
        return self.classify(self.similarity(z)).softmax(1)

    def reference_probabilities(self, similarity: Tensor) -> Tensor:
        return self.classify(similarity).softmax(1)

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        return z * self.rows[prototypes]

    def prediction_relevance(self, z: Tensor, target: Tensor) -> Tensor:
        weights = torch.stack([self.rows[self.prototype_class == c].sum(0) for c in range(3)])
        return z * weights[target]


def test_any_prototypical_model_is_measured(model: KMEx) -> None:
    x, y = images(3, 3)
    found = map_scores(cast("Decider", DotProduct(model)), some(x, y), baseline(x), PRP, "similarity", steps=STEPS)
    assert found.drop.shape == (9, 3)
    assert np.isnan(found.drop[0, 1:]).tolist() == [True, True]  # below 0, and filled up: no share of it
    assert np.isfinite(found.drop[0, 0])
    assert np.isfinite(found.divergence).all()
    assert np.array_equal(found.drop_reference, found.drop, equal_nan=True), "its own similarity is the reference"


def test_the_members_of_classes() -> None:
    found = class_members(torch.tensor([1, 0, 1, 2, 1]), 4)
    assert found.tolist() == [[1, -1, -1], [0, 2, 4], [3, -1, -1], [-1, -1, -1]]
