"""Targets and gradient methods of relevance maps, against loops and captum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.relevance.catalogue import TARGETS
from kmex_core.relevance.choices import checked_rival, of_classes, of_prototypes, of_scores
from kmex_core.relevance.explain import judge, prediction
from kmex_core.relevance.methods.gradient_input import GradientInput
from kmex_core.relevance.methods.integrated_gradients import IntegratedGradients
from kmex_core.relevance.methods.occlusion import Occlusion, patches_of
from kmex_core.relevance.paths import Paths, gauss_legendre
from kmex_core.relevance.removal import class_margin, relevance_rank, removal
from kmex_core.relevance.replacements import REPLACEMENTS, black, blurred, mean, replacements_of
from kmex_core.relevance.target import joined
from kmex_core.relevance.types import JUDGED
from kmex_core.relevance.verdict import ORDERS, second_rivals, specificity
from tests.helpers.small_kmex import DIMENSIONS, SIDE, K, images_of, model_of


def placed(kmex: KMEx, z: np.ndarray) -> np.ndarray:
    """An embedding in the prototypes' space, by its definition."""
    if kmex.metric.name == "whitened":
        return np.array([sum(z[i] * kmex.metric.matrix[i, j] for i in range(len(z))) for j in range(len(z))])
    return z / math.sqrt(sum(value * value for value in z)) if kmex.metric.name == "cosine" else z


@pytest.mark.parametrize("metric", ["euclidean", "whitened", "cosine"])
def test_the_margin_is_the_difference_of_squared_distances(metric: str) -> None:
    kmex = model_of(metric)
    z = kmex.encode(images_of()).detach()
    p, q = torch.tensor([0, 3, 5]), torch.tensor([2, 1, 0])
    found = kmex.margin(z, p, q)
    centres = kmex.prototypes.numpy()
    for row in range(3):
        at = placed(kmex, z[row].numpy())
        expected = math.dist(at, centres[q[row]]) ** 2 - math.dist(at, centres[p[row]]) ** 2
        assert float(found[row]) == pytest.approx(expected, rel=1e-5)
        assert (expected > 0) == (float(kmex.distance(z)[row, p[row]]) < float(kmex.distance(z)[row, q[row]]))
    # NEON: rows sum to the margin, and swapping prototype and rival turns every sign
    relevance = kmex.margin_relevance(z, p, q)
    torch.testing.assert_close(relevance.sum(1), found, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(kmex.margin_relevance(z, q, p), -relevance)


def test_the_margin_is_linear_and_does_not_depend_on_the_origin() -> None:
    kmex = model_of()
    z = kmex.encode(images_of()).detach()
    p, q, r = torch.tensor([0, 0, 1]), torch.tensor([2, 3, 4]), torch.tensor([5, 4, 2])
    torch.testing.assert_close(kmex.margin(z, p, r), kmex.margin(z, p, q) + kmex.margin(z, q, r))
    moved = model_of()
    shift = torch.full((DIMENSIONS,), 7.0, dtype=torch.float64)
    moved.prototypes = moved.prototypes + shift
    torch.testing.assert_close(moved.margin(z + shift, p, q), kmex.margin(z, p, q))
    torch.testing.assert_close(moved.margin_relevance(z + shift, p, q), kmex.margin_relevance(z, p, q))


def test_rivals_are_the_nearest_of_other_classes_or_others() -> None:
    kmex = model_of()
    z = kmex.encode(images_of(6)).detach()
    distance = kmex.distance(z).numpy()
    own = torch.tensor([0, 1, 2, 3, 4, 5])
    by_class, by_prototype = kmex.rivals(z, own).tolist(), kmex.rivals(z, own, "prototype").tolist()
    second = second_rivals(kmex, z, own, kmex.rivals(z, own))
    assert second is not None
    for row in range(6):
        others = [p for p in range(6) if p // K != row // K]
        assert by_class[row] == others[int(np.argmin(distance[row, others]))]
        rest = [p for p in range(6) if p != row]
        assert by_prototype[row] == rest[int(np.argmin(distance[row, rest]))]
        third = [p for p in others if p // K != by_class[row] // K]
        assert int(second[row]) == third[int(np.argmin(distance[row, third]))]
    assert checked_rival("4", 6) == 4
    assert checked_rival("prototype", 6) == "prototype"
    for wrong in ("6", "-1", "nearest", 6):
        with pytest.raises(InputError, match="There is no rival"):
            checked_rival(wrong, 6)


def test_targets_are_the_models_numbers() -> None:
    kmex = model_of()
    images = images_of()
    z = kmex.encode(images).detach()
    each, p = torch.arange(3), torch.tensor([1, 2, 4])
    assert list(TARGETS) == ["margin", "similarity", "class", "score"]
    expected = {
        "margin": kmex.margin(z, p, kmex.rivals(z, p)),
        "similarity": kmex.similarity(z)[each, p],
        "class": kmex.posterior(z)[each, p // K],
        "score": kmex.head(z)[each, p // K],
    }
    parts = [of_prototypes(name, kmex, each, z, p) for name in TARGETS]
    for part, (name, values) in zip(parts, expected.items(), strict=True):
        torch.testing.assert_close(part.values(kmex, z), values, msg=name)
    # joined in another order: the same numbers in that order, and where LRP starts
    together = joined(parts[::-1])
    repeated = z.repeat(4, 1)
    torch.testing.assert_close(together.values(kmex, repeated), torch.cat(list(expected.values())[::-1]))
    few = torch.tensor([7, 0, 11])
    torch.testing.assert_close(together[few].values(kmex, repeated[few]), together.values(kmex, repeated)[few])
    for name in ("margin", "similarity", "class"):
        starts = of_prototypes(name, kmex, each, z, p).relevance(kmex, z)
        torch.testing.assert_close(starts.sum(1), expected[name], rtol=1e-6, atol=1e-9)


def test_targets_of_classes_and_of_a_black_box() -> None:
    kmex = model_of()
    z = kmex.encode(images_of()).detach()
    each, classes = torch.arange(3), torch.tensor([0, 2, 1])
    distance = kmex.distance(z).square()
    own = torch.stack([distance[row, c * K : (c + 1) * K].amin() for row, c in enumerate(classes.tolist())])
    other = torch.stack(
        [
            torch.cat([distance[row, : c * K], distance[row, (c + 1) * K :]]).amin()
            for row, c in enumerate(classes.tolist())
        ]
    )
    torch.testing.assert_close(of_classes("margin", kmex, each, z, classes).values(kmex, z), other - own)
    torch.testing.assert_close(class_margin(kmex, z, classes), other - own)
    probabilities = of_classes("similarity", kmex, each, z, classes).values(kmex, z)
    torch.testing.assert_close(probabilities, kmex.posterior(z)[each, classes])
    scores = kmex.head(z).detach()
    plain = of_scores("similarity", scores, each, classes)
    torch.testing.assert_close(plain.values(kmex, z), scores[each, classes])
    best = torch.stack([torch.cat([row[:c], row[c + 1 :]]).amax() for row, c in zip(scores, classes, strict=True)])
    against = of_scores("margin", scores, each, classes)
    torch.testing.assert_close(against.values(kmex, z), scores[each, classes] - best)
    assert isinstance(kmex.head, nn.Linear)
    bias = kmex.head.bias.detach()
    rival = against.rival
    torch.testing.assert_close(
        against.relevance(kmex, z).sum(1),
        scores[each, classes] - best - bias[classes] + bias[rival],
        rtol=1e-4,
        atol=1e-5,
    )


def margins(kmex: KMEx, p: int, q: int, images: Tensor) -> Tensor:
    """The margin as a plain function of images, for autograd and captum."""
    z = kmex.mapped(kmex.encode(images))
    return (z - kmex.prototypes[q]).square().sum(1) - (z - kmex.prototypes[p]).square().sum(1)


@pytest.mark.parametrize("metric", ["euclidean", "whitened", "cosine"])
def test_integrated_gradients_equal_captums(metric: str) -> None:
    kmex, images = model_of(metric), images_of()
    z = kmex.encode(images).detach()
    pairs = [(0, 0, 3), (0, 1, 4), (2, 5, 1), (1, 2, 0), (0, 2, 5)]
    which, p, q = (torch.tensor(column) for column in zip(*pairs, strict=True))
    wanted = of_prototypes("margin", kmex, which, z[which], p, q)
    for baselines in (("black",), ("blurred",), ("black", "mean", "blurred")):
        found = IntegratedGradients(baselines).maps(kmex, images, z, wanted)
        for row, (image, one, other) in enumerate(pairs):
            inputs = images[image : image + 1]
            starts = {
                "black": torch.full_like(inputs, -1.0),
                "mean": torch.zeros_like(inputs),
                "blurred": by_scipy(inputs),
            }
            expected = [
                CaptumIntegratedGradients(lambda x, one=one, other=other: margins(kmex, one, other, x)).attribute(
                    inputs, starts[name], n_steps=200
                )
                for name in baselines
            ]
            weights = np.array([1 / float(each.abs().sum()) for each in expected])
            by_hand = sum(w * each[0] for w, each in zip(weights / weights.sum(), expected, strict=True))
            torch.testing.assert_close(found.values[row], by_hand, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(found.values.sum((1, 2, 3)), found.expected, rtol=1e-3, atol=1e-5)


def by_scipy(images: Tensor) -> Tensor:
    """A blur by another library, cut off and continued beyond the edges alike."""
    sigma = SIDE / 8
    reach = max(1, round(3 * sigma))
    blur = [
        [gaussian_filter(channel, sigma, mode="nearest", radius=reach) for channel in image] for image in images.numpy()
    ]
    return torch.from_numpy(np.array(blur))


def test_replacements() -> None:
    images, kmex = images_of(), model_of()
    torch.testing.assert_close(blurred(images, kmex), by_scipy(images))
    kmex.pixel_range, kmex.pixel_mean = ((-1.0, -2.0, -3.0), (1.0,) * 3), (0.5, 0.25, 0.125)
    assert (black(images, kmex)[:, 1] == -2).all()
    assert (mean(images, kmex)[:, 2] == 0.125).all()
    kmex.pixel_range, kmex.pixel_mean = None, None
    torch.testing.assert_close(black(images, kmex)[0, :, 0, 0], images.amin((0, 2, 3)))
    assert not mean(images, kmex).any()


def test_a_map_with_too_few_points_is_made_anew_with_more() -> None:
    kmex, images = model_of(smooth=False), images_of(8)
    z = kmex.encode(images).detach()
    wanted = of_prototypes("margin", kmex, torch.arange(8), z, torch.zeros(8, dtype=torch.int64))
    starts = black(images, kmex)[None]
    few = Paths(images, starts, *gauss_legendre(2, images)).attributions(kmex, wanted, 64)[0]
    found = IntegratedGradients(("black",)).maps(kmex, images, z, wanted)
    magnitude = found.values.abs().sum((1, 2, 3))
    assert bool(((few.sum((1, 2, 3)) - found.expected).abs() > 0.01 * magnitude).any())
    assert bool(((found.values.sum((1, 2, 3)) - found.expected).abs() <= 0.01 * magnitude).all())


def test_portions_of_a_path_give_the_same_map() -> None:
    kmex, images = model_of(), images_of()
    z = kmex.encode(images).detach()
    which, p = torch.tensor([2, 0, 2]), torch.tensor([0, 1, 5])
    wanted = of_prototypes("margin", kmex, which, z[which], p)
    whole, parts = (IntegratedGradients().maps(kmex, images, z, wanted, rows).values for rows in (512, 7))
    torch.testing.assert_close(whole, parts)


def test_gradient_times_input_by_autograd() -> None:
    kmex, images = model_of(), images_of()
    z = kmex.encode(images).detach()
    p, q = torch.tensor([0, 2, 4]), torch.tensor([2, 4, 1])
    found = GradientInput().maps(kmex, images, z, of_prototypes("margin", kmex, torch.arange(3), z, p, q))
    for row in range(3):
        inputs = images[row : row + 1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margins(kmex, int(p[row]), int(q[row]), inputs).sum(), inputs)
        torch.testing.assert_close(found.values[row], (gradient * (inputs + 1))[0].detach())
    assert bool(found.expected.isnan().all())


def test_occlusion_by_a_loop_over_patches() -> None:
    kmex, images = model_of(), images_of(2)
    z = kmex.encode(images).detach()
    which, p, q = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 4]), torch.tensor([2, 4, 1])
    found = Occlusion().maps(kmex, images, z, of_prototypes("margin", kmex, which, z[which], p, q))
    side = max(1, round(SIDE / 8))
    begins = sorted({*range(0, SIDE - side + 1, side), SIDE - side})
    assert kmex.pixel_range is not None
    for row in range(3):
        image = images[which[row]][None]
        black_image = torch.tensor(kmex.pixel_range[0]).view(1, 3, 1, 1).expand_as(image)
        before = margins(kmex, int(p[row]), int(q[row]), image).item()
        maps = []
        for instead in (black_image, torch.zeros_like(image), by_scipy(image)):
            total, times = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
            for top in begins:
                for left in begins:
                    hidden = image.clone()
                    patch = slice(top, top + side), slice(left, left + side)
                    hidden[..., *patch] = instead[..., *patch]
                    total[patch] += before - margins(kmex, int(p[row]), int(q[row]), hidden).item()
                    times[patch] += 1
            maps.append(total / times)
        # each replacement has the same say: the mean of the maps by their inverse magnitudes
        inverse = np.array([1 / np.abs(one).sum() for one in maps])
        expected = sum(one * share for one, share in zip(maps, inverse / inverse.sum(), strict=True))
        np.testing.assert_allclose(found.values[row].sum(0).numpy(), expected, rtol=1e-6, atol=1e-9)
    assert bool(found.expected.isnan().all())
    assert bool(patches_of(7, 30, torch.device("cpu")).any(0).all())


def test_gradients_add_up_over_rivals() -> None:
    kmex, images = model_of(smooth=False), images_of()
    z = kmex.encode(images).detach()
    each = torch.arange(3)
    p, q, r = torch.tensor([0, 2, 4]), torch.tensor([2, 4, 1]), torch.tensor([5, 1, 3])
    maker = GradientInput()
    one, two, both = (
        maker.maps(kmex, images, z, of_prototypes("margin", kmex, each, z, *pair)).values
        for pair in ((p, q), (q, r), (p, r))
    )
    torch.testing.assert_close(one + two, both, rtol=2e-2, atol=2e-2 * float(both.abs().max()))


def test_removal_by_a_loop() -> None:
    kmex, images = model_of(), images_of()
    z = kmex.encode(images).detach()
    predicted = kmex.predict(z)
    ranks = relevance_rank(images)
    replacements = [black(images, kmex), blurred(images, kmex)]
    found = removal(kmex, images, predicted, ranks, replacements, (0.1, 0.5), rows=5)
    for n in range(3):
        order = np.argsort(-images[n].sum(0).flatten().numpy(), kind="stable").tolist()
        for r, other in enumerate(replacements):
            for s, share in enumerate((0.1, 0.5)):
                top = order[: round(share * SIDE * SIDE)]
                deleted, inserted = images[n].clone(), other[n].clone()
                for pixel in top:
                    i, j = divmod(pixel, SIDE)
                    deleted[:, i, j], inserted[:, i, j] = other[n, :, i, j], images[n, :, i, j]
                of_deleted, of_inserted = (kmex.encode(each[None]).detach() for each in (deleted, inserted))
                c = predicted[n : n + 1]
                assert bool(found.kept[n, r, s]) == bool(kmex.predict(of_deleted) == c)
                assert bool(found.inserted[n, r, s]) == bool(kmex.predict(of_inserted) == c)
                left = class_margin(kmex, of_deleted, c) / class_margin(kmex, z[n : n + 1], c)
                assert float(found.margin[n, r, s]) == pytest.approx(float(left))


def test_specificity_by_hand() -> None:
    kmex, images = model_of(), images_of()
    z = kmex.encode(images).detach()
    p = kmex.distance(z).argmin(1)
    q1 = kmex.rivals(z, p)
    q2 = second_rivals(kmex, z, p, q1)
    assert q2 is not None
    generator = torch.Generator().manual_seed(3)
    maps = [torch.randn(3, 1, SIDE, SIDE, generator=generator, dtype=torch.float64) for _ in range(2)]
    ranks = relevance_rank(maps[0]), relevance_rank(maps[1])
    others = [black(images, kmex), blurred(images, kmex)]
    found = specificity(kmex, images, p, (q1, q2), ranks, others)
    count = round(0.1 * SIDE * SIDE)
    for n in range(3):
        values = []
        for other in others:
            without = []
            for values_of in maps:
                top = np.argsort(-values_of[n, 0].flatten().numpy(), kind="stable")[:count]
                image = images[n].flatten(1).clone()
                image[:, top] = other[n].flatten(1)[:, top]
                without.append(image.view(1, 3, SIDE, SIDE))

            def f(q: Tensor, image: Tensor, n: int = n) -> float:
                return margins(kmex, int(p[n]), int(q[n]), image).item()

            whole = images[n : n + 1]
            own = (f(q1, without[1]) - f(q1, without[0])) / f(q1, whole)
            values.append((own + (f(q2, without[0]) - f(q2, without[1])) / f(q2, whole)) / 2)
        assert float(found[n]) == pytest.approx(np.mean(values))
    # equal maps are not specific
    torch.testing.assert_close(
        specificity(kmex, images, p, (q1, q2), (ranks[0], ranks[0]), others), torch.zeros(3, dtype=torch.float64)
    )


def test_a_verdict_is_removal_for_each_class_by_itself_and_each_changed_image_is_encoded_once() -> None:
    kmex, image = model_of(), images_of(1)
    found = kmex.explain(image, top=6, judged=False)
    assert found.verdicts == ()
    seen: list[int] = []
    hook = kmex.encoder.register_forward_hook(lambda _, inputs, z: None if z.requires_grad else seen.append(len(z)))
    judged = judge(kmex, image, found.prototypes.tolist(), found.maps)
    hook.remove()
    maps, kinds, shares = len(found.prototypes), len(REPLACEMENTS), len(JUDGED)
    changed = (maps + ORDERS + 1) * kinds * shares + 2 * kinds * maps  # orders of pixels, and specificity
    assert changed <= sum(seen) <= changed + maps + 20  # with what is whole, and what measures memory
    instead = list(replacements_of(image, kmex))
    pixels = SIDE * SIDE

    def left(order: Tensor, label: Tensor) -> np.ndarray:
        return removal(kmex, image, label, order, instead, JUDGED, insertion=False).margin[0].numpy()

    z = kmex.encode(image).detach()
    for row, (p, verdict) in enumerate(zip(found.prototypes.tolist(), judged, strict=True)):
        label = kmex.prototype_class[[p]]
        by_map = left(relevance_rank(torch.from_numpy(found.maps.values[row])[None, None]), label)
        if float(class_margin(kmex, z, label)) > 0:
            assert verdict.margin is not None
            np.testing.assert_allclose(verdict.margin, by_map)
        else:
            assert verdict.margin is None
        orders = [torch.randperm(pixels, generator=torch.Generator().manual_seed(seed)) for seed in range(ORDERS)]
        np.testing.assert_allclose(verdict.random, np.mean([left(order[None], label) for order in orders], 0))
        np.testing.assert_allclose(verdict.brightness, left(relevance_rank(image), label))
    # together or in parts, it is the same explanation
    whole, alone = kmex.explain(image, top=6), prediction(kmex, image)
    for one, other in zip(judged, whole.verdicts, strict=True):
        np.testing.assert_array_equal(one.random, other.random)
        assert (one.cosine, one.specificity) == (other.cosine, other.specificity)
    assert (alone.predicted, alone.unusual, alone.distance_rank) == (
        whole.predicted,
        whole.unusual,
        whole.distance_rank,
    )
    np.testing.assert_array_equal(alone.kmex, whole.kmex)
    np.testing.assert_array_equal(alone.distance, whole.distance)
