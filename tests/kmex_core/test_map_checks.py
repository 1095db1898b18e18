"""The sanity suite of relevance maps."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from kmex_core import KMEx
from kmex_core.analysis import map_checks as analysis
from kmex_core.base.store import Store
from kmex_core.metrics.map_checks import DRAWS, NOISE, map_checks, rank_correlation
from kmex_core.metrics.randomisation import STAGES, Reference, randomised
from kmex_core.metrics.types import BRIGHTNESS, OTHER_IMAGE, RANDOM
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance.catalogue import PUBLISHED, MapKind
from kmex_core.relevance.choices import of_prototypes
from kmex_core.relevance.methods.gradient_input import GradientInput
from kmex_core.relevance.removal import relevance_rank, removal
from kmex_core.relevance.replacements import replacements_of
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.results import prototypes_of, suite_of
from tests.helpers.small_kmex import SIDE, images_of, model_of


def test_the_rank_correlation_is_spearmans() -> None:
    one, other = images_of(3, 1), images_of(3, 2)
    expected = [
        scipy.stats.spearmanr(a.sum(0).flatten(), b.sum(0).flatten()).statistic for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(rank_correlation(one, other).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(rank_correlation(one, one).numpy(), 1)


def with_norms() -> KMEx:
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    centres = np.random.default_rng(0).random((6, 5)).astype(np.float32)
    return KMEx(encoder, nn.Linear(5, 3), prototypes_of(centres, np.repeat(np.arange(3), 2)), ["a", "b", "c"]).double()


def test_layers_are_drawn_anew_from_the_top() -> None:
    model = with_norms()
    before = copy.deepcopy(model.state_dict())
    images = images_of(30)
    assigned = model.distance(model.encode(images)).argmin(1)
    reference = Reference(images, torch.arange(30) % 3)
    drawn: list[set[str]] = []
    shares = []
    for share, found in randomised(model, reference):
        shares.append(share)
        now = found.encoder.named_parameters()
        drawn.append({name.split(".")[0] for name, value in now if not torch.equal(value, before[f"encoder.{name}"])})
        # batch statistics of these images, layer by layer, and prototypes where their images are now
        conv, norm = list(found.encoder.children())[:2]
        first = conv(images)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)))
        assert not norm.training
        z = found.encode(images)
        for p in assigned.unique().tolist():
            torch.testing.assert_close(found.prototypes[p], z[assigned == p].mean(0))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) <= STAGES
    for one, other in itertools.pairwise(drawn):
        assert one <= other
    assert "0" not in drawn[0]
    assert drawn[-1] >= {"0", "3"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "the model is as it was"
    again = [found.prototypes.clone() for _, found in randomised(model, reference)]
    assert torch.equal(again[-1], found.prototypes)


def test_a_suite_by_hand() -> None:
    model, images = model_of(), images_of(5)
    reference = Reference(images_of(12, 5), torch.arange(12) % 3)
    kinds = [MapKind(method="gradient-input"), MapKind("score", "gradient-input")]
    checks = map_checks(model, [images[:3], images[3:]], kinds, reference, 2)
    assert checks.rows == (*(kind.title for kind in kinds), RANDOM, BRIGHTNESS, OTHER_IMAGE)  # no rules for tanh
    z = model.encode(images).detach()
    p = model.distance(z).argmin(1)
    q = model.rivals(z, p)
    each = torch.arange(5)
    own = GradientInput().maps(model, images, z, of_prototypes("margin", model, each, z, p, q)).values
    others = list(replacements_of(images, model))

    def measured(ranks: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        found = removal(model, images, model.predict(z), ranks, others)
        return found.kept.double().mean(2).numpy(), found.inserted.double().mean(2).numpy()

    shifted = torch.cat([own[2:3], own[:2], own[2:3], own[3:4]])  # images come in batches of 3 and 2
    for row, ranks in ((0, relevance_rank(own)), (3, relevance_rank(images)), (4, relevance_rank(shifted))):
        kept, inserted = measured(ranks)
        np.testing.assert_allclose(checks.kept[row], kept)
        np.testing.assert_allclose(checks.inserted[row], inserted)
    orders = [
        measured(
            torch.from_numpy(
                np.stack([np.random.default_rng([order, image]).permutation(SIDE * SIDE) for image in range(5)])
            )
        )
        for order in range(5)
    ]
    np.testing.assert_allclose(checks.kept[2], np.mean([kept for kept, _ in orders], 0))
    np.testing.assert_allclose(checks.inserted[2], np.mean([inserted for _, inserted in orders], 0))
    # a score does not know the rival
    np.testing.assert_allclose(checks.cosine_rival[1], 1)
    assert (checks.specificity[1] == 0).all()
    assert np.isfinite(checks.specificity[0]).all()
    assert np.isnan(checks.specificity[2:]).all()
    # the largest change in ten draws of noise, for the first two images
    most = np.zeros(2)
    low, high = (torch.tensor(end).view(1, -1, 1, 1) for end in model.pixel_range or ())
    for draw in range(DRAWS):
        noise = torch.rand(images[:2].shape, generator=torch.Generator().manual_seed(draw)).double() * 2 - 1
        noisy = images[:2] + noise * NOISE * (high - low)
        moved = (
            GradientInput().maps(model, noisy, z, of_prototypes("margin", model, each[:2], z[:2], p[:2], q[:2])).values
        )
        change = [float((moved[n] - own[n]).norm() / own[n].norm()) for n in range(2)]
        most = np.maximum(most, change)
    np.testing.assert_allclose(checks.sensitivity[0], most, rtol=1e-5)
    assert np.isnan(checks.sensitivity[2:]).all()
    assert checks.randomised.shape == (2, len(checks.random_layers), 2)
    assert checks.random_layers[-1] == 1


def test_verdicts_compare_image_by_image() -> None:
    checks = suite_of()
    good, middling, bad, random, bright = analysis.verdicts(checks)
    for verdict, row in ((good, 0), (middling, 1), (bad, 2), (bright, 4)):
        expected = [
            scipy.stats.ttest_rel(checks.kept[3, :, r], checks.kept[row, :, r]).statistic > scipy.stats.norm.ppf(0.975)
            for r in range(3)
        ]
        assert list(verdict.deletion_random) == expected
    assert good.deletion_random == good.insertion_random == good.deletion_brightness == (True, True, True)
    assert bad.deletion_random == (False, False, False)
    assert (good.depends_on_rival, middling.depends_on_rival, bad.depends_on_rival) == (True, False, False)
    assert random.depends_on_rival is None
    above = int((checks.specificity[1] > 0).sum())
    chance = scipy.stats.binomtest(above, 40, 0.5, alternative="greater").pvalue
    assert middling.specific_beyond_chance == (chance < 0.05)
    assert good.advantage == pytest.approx(
        (checks.kept[3].mean() - checks.kept[0].mean() + checks.inserted[0].mean() - checks.inserted[3].mean()) / 2
    )
    assert "better than random order in deletion under 3 of 3" in good.text
    assert "depends on the rival: no" in bad.text
    assert "changes with the weights: no (rank correlation 0.80)" in bad.text
    assert "random order: better than brightness" in random.text


def test_the_best_is_specific_if_any_is() -> None:
    checks = suite_of()
    assert [name for name, _ in analysis.best([checks])] == ["good"]
    unspecific = suite_of(specificity=np.zeros((5, 40)))
    ranked = analysis.best([unspecific, dataclasses.replace(unspecific)])
    assert [name for name, _ in ranked] == ["good", "middling", "bad"]
    scores = [values[:3].mean(1)[:, r] for values in (unspecific.inserted, -unspecific.kept) for r in range(3)]
    expected = np.mean([scipy.stats.rankdata(-score) for score in scores], 0)
    assert [rank for _, rank in ranked] == pytest.approx(sorted(expected))
    table = analysis.table(checks)
    assert table["row"].tolist() == list(checks.rows)
    assert table["kept_mean"].tolist() == pytest.approx(checks.kept[:, :, 1].mean(1).tolist())


def test_the_suite_of_the_demo_is_stored(demo: Store, digits: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmex_core.metrics.map_checks.DRAWS", 2)
    monkeypatch.setattr("kmex_core.metrics.randomisation.STAGES", 2)
    subject = Subject(demo, digits, dataset_of(digits))
    kinds = [MapKind(method="gradient-input"), PUBLISHED]
    made = subject.map_checks(KMeans(2), 3, kinds).get()
    assert made.rows[-1] == "all-ones start"
    assert made.kept.shape == (6, 3, 3)
    again = subject.map_checks(KMeans(2), 3, kinds).peek()
    assert again is not None
    assert again.rows == made.rows
    np.testing.assert_array_equal(again.kept, made.kept)
    assert subject.map_checks(KMeans(2), 3, kinds[:1]).peek() is None
