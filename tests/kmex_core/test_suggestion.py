"""How many prototypes a class needs: planted groups, data without any, and what the rule says of made-up evidence."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from kmex_core.analysis.suggestion import overall, overall_reason, reason, sampled
from kmex_core.base.progress import Event
from kmex_core.prototypes import suggestion as module
from kmex_core.prototypes.suggestion import Evidence, evidence, suggested
from tests.helpers.results import evidence_of

REACH = 8


def groups(count: int, n: int = 300, d: int = 40, apart: float = 3.0, seed: int = 0) -> np.ndarray:
    """Images in this many groups of about equal size and of unit width, in random directions."""
    random = np.random.default_rng(seed)
    return apart * random.normal(size=(count, d))[random.integers(count, size=n)] + random.normal(size=(n, d))


def found(*classes: np.ndarray, reach: int = REACH, seed: int = 0) -> Evidence:
    z = torch.from_numpy(np.concatenate(classes).astype(np.float32))
    return evidence(z, np.repeat(np.arange(len(classes)), [len(of) for of in classes]), reach, seed)


# ---- measures -------------------------------------------------------------------------------------------------------


def table_of(own: np.ndarray, other: np.ndarray, k: int) -> torch.Tensor:
    table = np.zeros((k, k))
    np.add.at(table, (own, other), 1)
    return torch.from_numpy(table)[None]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_the_rand_index_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    own, other = np.array(pairs).T
    value = module._rand_index(table_of(own, other, 5)).item()
    assert value == pytest.approx(adjusted_rand_score(own, other), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=25))
def test_the_prediction_strength_is_a_share_of_pairs(pairs: list[tuple[int, int]]) -> None:
    own, other = np.array(pairs).T
    shares = []  # of each image that has cluster mates, the share of them that stays with it
    for i in range(len(own)):
        mates = [j for j in range(len(own)) if j != i and own[j] == own[i]]
        if mates:
            shares.append(np.mean([other[j] == other[i] for j in mates]))
    value = module._prediction_strength(table_of(own, other, 4)).item()
    assert value == pytest.approx(np.mean(shares) if shares else 0)


def test_components_keep_distances_and_the_largest_variances_first() -> None:
    for shape in ((60, 20), (15, 50)):
        points = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(3, 0.1, shape[1])) + 100
        ours = module._components(torch.from_numpy(points)).numpy()
        width = min(*shape, module.DIMENSIONS)
        assert ours.shape == (shape[0], width)
        theirs = PCA(min(width, shape[0] - 1)).fit_transform(points)
        np.testing.assert_allclose(np.abs(ours[:, : theirs.shape[1]]), np.abs(theirs), atol=1e-3)


def test_clusters_of_many_sets_are_no_worse_than_the_starts_and_belong_to_their_set() -> None:
    sets = torch.from_numpy(np.stack([groups(4, 60, 5, 6.0, seed) for seed in range(3)]).astype(np.float32))
    inertia, centers = module._clustered(sets, 5, 2, torch.Generator().manual_seed(0))
    assert inertia.shape == (3, 5)
    assert [of_k.shape for of_k in centers] == [(3, k, 5) for k in range(1, 6)]
    for at, points in enumerate(sets.double().numpy()):
        for k, of_k in enumerate(centers):
            apart = ((points[:, None] - of_k[at].double().numpy()) ** 2).sum(2)
            assert inertia[at, k].item() == pytest.approx(apart.min(1).sum(), rel=1e-3)
        np.testing.assert_allclose(centers[0][at, 0], points.mean(0), atol=1e-4)
    assert (inertia.diff() <= 1e-3).all()
    # four groups of unit width are found: what is left is their width
    assert (inertia[:, 3] < 1.3 * 60 * 5).all()


# ---- planted and absent groups --------------------------------------------------------------------------------------


def test_planted_groups_are_found_and_no_others() -> None:
    made = found(groups(5), groups(3, seed=1), groups(2, seed=2), groups(1, seed=3), groups(5, 80, seed=4))
    assert made.suggested.tolist() == [5, 3, 2, 1, 5]
    for label, k in enumerate((5, 3, 2)):
        assert made.gap[label].argmax() + 1 == k
        assert made.gap[label, k - 1] > 3 * made.gap_error[label]
        assert made.prediction_strength[label, k - 1] > 0.99
        assert made.rand_index[label, k - 1] > 0.99
        assert made.prediction_strength[label, k:].max() < made.prediction_strength[label, k - 1]
    for field in (made.gap, made.prediction_strength, made.rand_index):
        assert field.shape == (5, REACH)
    np.testing.assert_array_equal(made.prediction_strength[:, 0], 1)
    np.testing.assert_array_equal(made.rand_index[:, 0], 1)
    np.testing.assert_allclose(made.gap[:, 0], 0, atol=0.1)


def test_a_class_without_groups_needs_one_prototype_whatever_its_covariance() -> None:
    random = np.random.default_rng(0)
    stretched = random.normal(size=(300, 40)) * np.geomspace(10, 0.1, 40)
    mixed = random.normal(size=(300, 6)) @ random.normal(size=(6, 40))
    few, flat = random.normal(size=(30, 40)), random.normal(size=(300, 2)) @ random.normal(size=(2, 40))
    positive = np.maximum(random.normal(size=(300, 40)), 0)  # as after a ReLU
    made = found(random.normal(size=(300, 40)), stretched, mixed, few, flat, positive)
    assert made.suggested.tolist() == [1] * 6
    # the gap is not beyond its error where there is nothing to find
    assert (np.abs(made.gap[:3]) < 4 * made.gap_error[:3, None] + 0.02).all()


def test_equal_seeds_give_equal_evidence_and_classes_do_not_change_one_another() -> None:
    classes = groups(3, 90), groups(2, 90, seed=1), groups(2, 40, seed=2)
    one, again, other = found(*classes), found(*classes), found(*classes, seed=1)
    for field in dataclasses.fields(Evidence):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(again, field.name))
    assert not np.array_equal(one.gap, other.gap)
    assert one.suggested.tolist() == other.suggested.tolist() == [3, 2, 2]
    stored = Evidence.from_arrays(one.to_arrays())
    np.testing.assert_array_equal(stored.gap, one.gap)


def test_of_a_large_class_a_sample_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 100)
    seen: list[int] = []
    real = module._components

    def watched(points: torch.Tensor) -> torch.Tensor:
        seen.append(len(points))
        return real(points)

    monkeypatch.setattr(module, "_components", watched)
    assert found(groups(4, 400), groups(3, 60, seed=1)).suggested.tolist() == [4, 3]
    assert sorted(seen) == [60, 100]


@pytest.mark.parametrize("batch", [1, 1 << 40])
def test_batches_of_classes_do_not_matter(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(module, "CELLS", batch)
    classes = [groups(k, 80, seed=k) for k in (1, 2, 3, 4)]
    assert found(*classes).suggested.tolist() == [1, 2, 3, 4]


def test_classes_of_hardly_any_images_have_one_prototype() -> None:
    same, two = np.ones((9, 4)), np.repeat(np.eye(4)[:2], 3, 0)
    images = np.random.default_rng(0).normal(size=(5, 4))
    few = [images[:1], images[:2], images[:3], images[:4], images, same, same[:2], two[2:4]]
    made = found(*few)
    assert made.suggested.tolist() == [1] * len(few)
    assert np.isinf(made.gap_error[:3]).all()
    for label in range(len(few)):
        assert reason(made, label).endswith(".")
    for values in (made.gap, made.prediction_strength, made.rand_index):
        assert np.isfinite(values[3, :2]).all()
        assert np.isnan(values[3, 2:]).all(), "no more clusters than a half has images"


@pytest.mark.parametrize("different", [1, 2, 3, 7])
def test_equal_images_are_as_many_groups_as_there_are_different_ones(different: int) -> None:
    made = found(np.repeat(10 * np.eye(8)[:different], 20, 0))
    assert made.suggested.tolist() == [different]
    assert np.isfinite(made.gap).all()


def test_progress_counts_classes_to_the_last() -> None:
    seen: list[Event] = []
    z = np.concatenate([groups(2, 20), groups(2, 30), groups(1, 1)])
    labels = np.repeat([0, 1, 2], [20, 30, 1])
    evidence(torch.from_numpy(z.astype(np.float32)), labels, 4, 0, lambda event: seen.append(event))
    assert [event.done for event in seen] == sorted(event.done for event in seen)
    assert {event.total for event in seen} == {3}
    assert seen[-1].done == 3


# ---- the rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "strength", "number"),
    [
        ([0, 0.5, 1.0, 0.9], [1, 0.9, 0.95, 0.9], 3),  # the best gap
        ([0, 0.98, 1.0, 0.99], [1, 0.9, 0.95, 0.9], 2),  # the smallest within 3 errors of the best
        ([0, 0.969, 1.0, 0.9], [1, 0.9, 0.95, 0.9], 3),  # just outside
        ([0, 0.5, 1.0, 2.0], [1, 0.9, 0.95, 0.79], 3),  # the best is not stable
        ([0, 0.5, 1.0, 2.0], [1, 0.8, 0.1, 0.1], 2),  # as stable as is needed
        ([0, 0.03, 0.02, 0.0], [1, 0.9, 0.95, 0.9], 1),  # stable, but no better than without groups
        ([0, 0.031, 0.02, 0.0], [1, 0.9, 0.95, 0.9], 2),
        ([0, 0.5, 0.4, 0.3], [1, 0.7, 0.5, 0.2], 1),  # better, but not stable
        ([0, -0.5, -0.4, 0.3], [1, 0.9, 0.9, 0.9], 4),
        ([0.5, 0.0, 0.0, 0.0], [1, 0.9, 0.9, 0.9], 1),
        ([0.9, 0.5, 0.0, 0.0], [1, 0.9, 0.9, 0.9], 1),  # one prototype counts, too
        ([0], [1], 1),
    ],
)
def test_the_number_that_evidence_suggests(gap: list[float], strength: list[float], number: int) -> None:
    assert suggested(np.array(gap), 0.01, np.array(strength)) == number


def test_nothing_is_suggested_where_there_is_no_error_to_compare_with() -> None:
    assert suggested(np.array([0.0, 5.0]), np.inf, np.ones(2)) == 1


# ---- in words -------------------------------------------------------------------------------------------------------


def of(numbers: list[int]) -> Evidence:
    """Evidence that suggests these numbers."""
    none = np.zeros((len(numbers), 9))
    return Evidence(none, np.ones(len(numbers)), none, none, np.array(numbers))


@pytest.mark.parametrize(
    ("numbers", "one"), [([3], 3), ([1, 4], 4), ([4, 1], 4), ([1, 1, 9], 1), ([2, 9, 5, 3], 5), ([1, 1, 1, 1, 8], 1)]
)
def test_one_number_for_all_is_the_median(numbers: list[int], one: int) -> None:
    assert overall(of(numbers)) == one


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([1, 1], "No class has evidence for more than one group: "),
        ([1, 3, 1], "2 of 3 classes show no groups; the suggestions range from 1 to 3, with a median of 1."),
        ([2, 4, 3], "Every class shows groups; the suggestions range from 2 to 4, with a median of 3."),
    ],
)
def test_what_all_classes_suggest_in_words(numbers: list[int], said: str) -> None:
    assert overall_reason(of(numbers)).startswith(said)


@pytest.mark.parametrize(
    ("gap", "strength", "error", "said"),
    [
        ([0, 0, 0], [1, 0, 0], np.inf, "Too few different images to look for groups."),
        (
            [0, 0.5, 0.5],
            [1, 0.4, 0.79],
            0.01,
            "No evidence for more than 1: with 3, the most stable number, 79.0% of an image's cluster mates stay "
            "together in the other half of the images; 80% are needed.",
        ),
        (
            [0, 0.01, 0.5],
            [1, 0.9, 0.4],
            0.01,
            "No evidence for more than 1: where clusters are stable, they fit no better than in a class of the same "
            "shape without groups.",
        ),
        (
            [0, 0.5, 0.7],
            [1, 0.9, 0.93],
            0.01,
            "With 3, 93% of an image's cluster mates stay together in the other half of the images, and clusters fit "
            "50% better than in a class of the same shape without groups. 3 is the largest number tried.",
        ),
        (
            [0, 0.5, 0.7],
            [1, 0.9, 0.33],
            0.01,
            " better than in a class of the same shape without groups. With 3, only 33.0% ",
        ),
        ([0, 0.5, 0.52], [1, 0.9, 0.9], 0.01, "With 3, they would fit no better beyond chance."),
        ([0, 0.5, 0.1], [1, 0.9, 0.9], 0.01, "With 3, they would fit no better beyond chance."),
    ],
)
def test_why_a_number_is_suggested(gap: list[float], strength: list[float], error: float, said: str) -> None:
    text = reason(evidence_of(gap, strength, error), 0)
    assert text == said if said.startswith(("Too", "No")) else said in text


def test_every_suggestion_has_a_reason_that_names_its_number() -> None:
    values = (0.0, 0.02, 0.5, 0.6)
    for gaps in itertools.product(values, repeat=3):
        for strengths in itertools.product((0.3, 0.9), repeat=3):
            made = evidence_of([0, *gaps], [1, *strengths])
            k, text = int(made.suggested[0]), reason(made, 0)
            assert text.startswith("No evidence for more than 1: " if k == 1 else f"With {k}, ")
            others = [strengths[at - 2] for at in range(2, 5) if f"With {at}, only" in text]
            assert all(strength < 0.8 for strength in others)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([1000, 3], ""),
        ([1001, 5000], "The evidence is from a random sample of 1,000 images of each class."),
        (
            [1001, 3, 2000],
            "The evidence is from a random sample of 1,000 images of each of the 2 classes that have more.",
        ),
        ([1001, 3], "The evidence is from a random sample of 1,000 images of the one class that has more."),
    ],
)
def test_which_images_the_evidence_is_from(counts: list[int], said: str) -> None:
    assert sampled(np.array(counts)) == said
