"""Sentences about the data follow the data: each is tried on made-up data for which it holds, and for which not."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app import claims
from app.claims import curves
from kmex_core.analysis.types import Projection
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.metrics.stability import Stability
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.metric_choice import Trial, agreed
from kmex_core.prototypes.source import SUGGESTED
from kmex_core.prototypes.types import ConceptMap
from kmex_core.stages.geometry import Geometry
from tests.helpers.paths import ROOT
from tests.helpers.results import patch_conversion, suite_of, summary, sweep_of

NAMES = ("ant", "bee", "cat")


# ---- differences ----------------------------------------------------------------------------------------------------


def compared(gained: int, lost: int, images: int = 500) -> claims.Difference:
    labels = np.zeros(images, int)
    one, other = labels.copy(), labels.copy()
    other[:gained] = 1
    one[gained : gained + lost] = 1
    return claims.difference(one, other, labels)


def test_two_images_of_500_are_chance() -> None:
    shown = compared(2, 0)
    assert shown.text == "+0.4 points, +2 of 500"
    assert not shown.beyond_chance
    assert "not significant" in shown.about


@pytest.mark.parametrize(("gained", "lost", "beyond"), [(9, 0, True), (0, 9, True), (30, 25, False), (4, 4, False)])
def test_a_difference_counts_beyond_a_paired_test(gained: int, lost: int, beyond: bool) -> None:
    shown = compared(gained, lost)
    assert shown.beyond_chance is beyond
    assert (shown.text == "equally many correct") is (gained == lost)
    assert f"{gained} images are correct only with KMEx, {lost} only with the black box" in shown.about


# ---- patches --------------------------------------------------------------------------------------------------------

LABELS = np.arange(200) % 2


def wrong_in(count: int) -> np.ndarray:
    """(200,) predictions of which the first ones are wrong."""
    return np.where(np.arange(200) < count, 1 - LABELS, LABELS)


def test_what_patches_cost_is_compared_with_kmex_and_with_chance() -> None:
    patches = patch_conversion(wrong_in(30), wrong_in(120), LABELS, 7)
    assert claims.patch_trade_off(patches, wrong_in(10), LABELS, 2) == (
        "Of 200 test images, 7×7 patches classify 85.0% correctly by mean similarity (10.0 points fewer than by KMEx, "
        "significant) and 40.0% correctly by majority vote (55.0 points fewer than by KMEx, significant; always naming "
        "the most frequent class would reach 50.0%)."
    )
    better = claims.patch_trade_off(patch_conversion(wrong_in(8), wrong_in(10), LABELS, 7), wrong_in(10), LABELS, 2)
    assert "96.0% correctly by mean similarity (1.0 points more than by KMEx, not significant)" in better
    assert "95.0% correctly by majority vote (as many as by KMEx)" in better
    assert "most frequent" not in better


def test_what_finer_patches_cost_is_computed() -> None:
    coarse = patch_conversion(wrong_in(10), wrong_in(10), LABELS, 7)
    worse, better = (patch_conversion(wrong_in(wrong), wrong_in(10), LABELS, 28) for wrong in (30, 6))
    price = "Maps of 28×28 instead of 7×7 patches cost 10.0 points by mean similarity."
    assert claims.finer_patches(coarse, worse) == claims.finer_patches(worse, coarse) == price
    assert claims.finer_patches(coarse, better).endswith("cost no accuracy (+2.0 points) by mean similarity.")
    whitened = patch_conversion(wrong_in(10), wrong_in(10), LABELS, 7, "whitened")
    assert claims.finer_patches(whitened, worse).endswith(
        "by mean similarity; their metrics differ, too (euclidean instead of whitened)."
    )


def test_what_the_patches_of_an_image_say() -> None:
    nearest = np.array([[0, 0, 0], [2, 2, 5]])
    drawn = ConceptMap(nearest, nearest // 2, np.zeros((2, 3)), np.zeros(3), np.array([3, 2, 1]), 1, 0)
    assert claims.concepts(drawn, NAMES, 1) == (
        "By mean similarity, the image is **bee** (correct); by majority vote, **ant** (wrong), with 3 of 6 patches. "
        "Most frequent of its 3 patch prototypes: number 0 of ant (50%), number 2 of bee (33%), number 5 of cat (17%)."
    )
    assert "**cat** (correct)" in claims.concepts(dataclasses.replace(drawn, voted=2), NAMES, 2)


# ---- what a network saw ---------------------------------------------------------------------------------------------


def info(**made_by: object) -> ModelInfo:
    return ModelInfo("m", "blackbox", "digits", "", "resnet20", NAMES, Preprocessing.plain(8, 1), 0.9, made_by)


def test_an_imported_model_may_have_seen_anything() -> None:
    assert "not trained on" in claims.seen_in_training(info(data="as now"), "test", "as now")
    assert "made from these" in claims.seen_in_training(info(data="as now"), "train", "as now")
    for split in ("train", "test"):
        assert "unknown" in claims.seen_in_training(info(data="as now", imported={}), split, "as now")


def test_what_a_model_has_seen_is_not_known_of_other_data() -> None:
    for split in ("train", "test"):
        for made_by in ({"data": "as it was"}, {}):
            assert "may have changed" in claims.seen_in_training(info(**made_by), split, "as now")


# ---- numbers of prototypes ------------------------------------------------------------------------------------------


def test_agreement_is_said_with_its_ends_and_that_of_the_chosen_number() -> None:
    said = claims.predictions_over_k([sweep_of(3, agreement=[0.91, 0.93, 0.92])], 3)
    assert said.startswith("KMEx agrees with the black box on 91.0% to 93.0% of the 100 test images; with 3 per class ")
    assert "with 3 per class on 92.0%. " in said
    assert "per class on" not in claims.predictions_over_k([sweep_of(3, agreement=[0.91, 0.93, 0.92])], SUGGESTED)
    several = [sweep_of(2, agreement=[0.9, 0.8]), sweep_of(2, agreement=[0.8, 0.6])]
    assert "on 70.0% to 85.0% of" in claims.predictions_over_k(several, 0), "the mean over seeds"


def test_a_number_is_best_only_where_its_neighbours_are_worse_beyond_chance() -> None:
    clear = claims.predictions_over_k([sweep_of(3, images=1000, agreement=[0.5, 0.9, 0.6])], 0)
    assert "Agreement is highest with 2." in clear
    few = claims.predictions_over_k([sweep_of(3, images=10, agreement=[0.5, 0.9, 0.6])], 0)
    assert "No number is best beyond chance: the intervals of 3 of 3 overlap the best." in few
    # at either end there is one neighbour only
    assert "highest with 1." in claims.predictions_over_k([sweep_of(3, images=1000, agreement=[0.9, 0.5, 0.6])], 0)
    assert "highest with 3." in claims.predictions_over_k([sweep_of(3, images=1000, agreement=[0.5, 0.6, 0.9])], 0)
    beside = claims.predictions_over_k([sweep_of(4, images=1000, agreement=[0.5, 0.89, 0.9, 0.6])], 0)
    assert "the intervals of 2 of 4 overlap the best" in beside
    # seeds that differ widen an interval that the test images leave narrow
    seeds = [sweep_of(2, images=10**6, agreement=[0.9, agreement]) for agreement in (0.91, 0.5)]
    assert "No number is best beyond chance: the intervals of 2 of 2" in claims.predictions_over_k(seeds, 0)


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        ([0.9, 0.81, 0.85, 0.9], "For every number it is above that of as many random training images of each class."),
        ([0.7, 0.8, 0.75, 0.6], "For no number is it above that of as many random training images of each class."),
        ([0.9, 0.9, 0.8, 0.85], "above that of as many random training images of each class with 1 to 2 and 4 only."),
        ([0.7, 0.7, 0.81, 0.7], "It is above that of as many random training images of each class with 3 only."),
    ],
)  # fmt: skip
def test_agreement_is_compared_with_the_upper_end_of_chance(agreement: list[float], said: str) -> None:
    assert claims.predictions_over_k([sweep_of(4, agreement=agreement)], 0).endswith(said)


def test_differences_that_cannot_be_read_are_not_claimed() -> None:
    alike = claims.predictions_over_k([sweep_of(2, agreement=[0.98201, 0.98199])], 1)
    assert alike == "KMEx agrees with the black box on 98.2% of the 100 test images, whatever the number."
    curve = np.array([0.1, 0.5, 0.9])
    assert claims.ordering(curve + 1e-5, curve, "KMEx") == (
        "KMEx: relevance order is no better than random order; the area under both curves is 0.500."
    )


def test_the_last_step_is_said_with_what_chance_leaves_of_it() -> None:
    inertia = np.array([[60.0, 40], [50, 30], [40, 20]])
    far = sweep_of(3, images=1000, agreement=[0.5, 0.9, 0.9], inertia=inertia)
    assert curves.last_step([far], 2) == (
        "From 1 to 2: agreement +40.00 points; squared distances to prototypes fall by 20.0%."
    )
    assert curves.last_step([far], 3) == (
        "From 2 to 3: agreement +0.00 points (no more than chance); squared distances to prototypes fall by 25.0%."
    )
    falls = sweep_of(3, images=1000, agreement=[0.9, 0.5, 0.5], inertia=inertia)
    assert "agreement −40.00 points;" in curves.last_step([falls], 2)
    both = curves.last_step([far, sweep_of(3, images=1000, agreement=[0.5, 0.8, 0.9], inertia=inertia / 7)], 2)
    assert "agreement +35.00 points;" in both, "the mean over seeds"
    assert "fall by 20.0%" in both
    assert curves.last_step([far], 1) == ""
    assert curves.last_step([far], SUGGESTED) == ""
    nothing = sweep_of(3, agreement=[0.5, 0.9, 0.9], inertia=np.zeros((3, 2)))  # all images of a class are one point
    assert curves.last_step([nothing], 3).endswith("fall by 0.0%.")


def test_diversity_hardly_moves_only_where_it_does_not() -> None:
    assert "hardly changes" in claims.diversity_over_k(sweep_of(3, diversity=[np.nan, 0.003, 0.004]))
    moves = claims.diversity_over_k(sweep_of(3, diversity=[np.nan, 0.1, 0.9]))
    assert "hardly" not in moves
    assert "Over 2 numbers of prototypes, it varies between 0.1000 and 0.9000." in moves
    assert claims.diversity_over_k(sweep_of(2, diversity=[np.nan, 0.5])) == ""


# ---- maps -----------------------------------------------------------------------------------------------------------


def test_an_ordering_beats_random_order_only_where_it_does() -> None:
    rising, late = np.array([0.1, 0.8, 0.9]), np.array([0.1, 0.2, 0.9])
    assert "is better than random order; the area under the curve is 0.650 against 0.350" in claims.ordering(
        rising, late, "KMEx"
    )
    assert "no better than random order" in claims.ordering(late, rising, "KMEx")
    assert "too flat" in claims.ordering(rising / 100, late / 100, "KMEx")


# ---- no other claims ------------------------------------------------------------------------------------------------


def texts(path: Path) -> Iterator[str]:
    """All constant texts of a module but its docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documentation = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in documentation:
            yield node.value


CLAIMS = re.compile(
    r"more closely|closer to the black box|hardly|far too|says little|say more|stays near|is flat|"
    r"\bnever saw\b|outweighs|\balways\b|mostly\b|usually\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "path", [*(ROOT / "app").rglob("*.py"), ROOT / "kmex_core" / "metrics" / "catalogue.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)  # fmt: skip
def test_what_a_page_claims_of_the_data_is_computed(path: Path) -> None:
    """Words that claim something of data stand in `claims` alone, where a test tries both outcomes."""
    if ROOT / "app" / "claims" not in path.parents:
        assert [text for text in texts(path) if CLAIMS.search(text)] == []


def geometry_of(first: Trial, second: Trial, **accuracy: float) -> Geometry:
    values = {"black_box": 0.95, "euclidean": 0.9, "whitened": 0.93} | accuracy
    return Geometry(
        EmbeddingMetric("whitened", np.eye(2, dtype=np.float32), 0.1),
        (first, second),
        agreed([first, second]),
        False,
        1.5,
        0.94,
        (0.93, 0.95),
        values,
    )


BETTER, WORSE = Trial(100, 0.9, 0.94, 0.01), Trial(100, 0.96, 0.92, 0.01)


@pytest.mark.parametrize(
    ("trials", "name", "expected"),
    [
        ((BETTER, BETTER), "whitened", "is correct for 94.0%, Euclidean for 90.0%. Euclidean is not better"),
        ((BETTER, WORSE), "euclidean", "is correct for 93.0%, Euclidean for 93.0%. The halves disagree"),
        ((WORSE, WORSE), "euclidean", "Euclidean is better by more than a standard error"),
        ((BETTER, BETTER), "cosine", "You have chosen **cosine**"),
    ],
)
def test_the_choice_of_the_metric_is_explained_by_its_trials(
    trials: tuple[Trial, Trial], name: str, expected: str
) -> None:
    words = claims.metric_choice(geometry_of(*trials), name)
    assert words.startswith("On 200 held-out images")
    assert expected in words
    assert ("You have chosen" in words) == (name == "cosine")


def test_what_is_lost_to_the_black_box_is_said_from_half_a_point_on() -> None:
    geometry = geometry_of(BETTER, BETTER)
    assert claims.below_black_box(geometry, summary(accuracy_kmex=0.896, accuracy_black_box=0.9)) == ""
    words = claims.below_black_box(geometry, summary(accuracy_kmex=0.88, accuracy_black_box=0.9, metric="euclidean"))
    assert words.startswith("KMEx is 2.0 points below the black box. The variance of the embedding within")
    assert "is 1.50 times" in words
    assert "the whitened metric reaches 93.0%" in words
    assert "metric reaches" not in claims.below_black_box(geometry, summary(accuracy_kmex=0.88, accuracy_black_box=0.9))


def projection_of() -> Projection:
    return Projection(
        train=np.zeros((4, 2)),
        test=np.zeros((2, 2)),
        sample=np.arange(4),
        mean=np.zeros(2),
        axes=np.eye(2),
        anchors=np.zeros((4, 2)),
        labels=np.zeros(6),
        black_box=np.zeros(6),
        far=np.array([True, False, False, False, True, True]),
        limit=1.0,
        trustworthiness=1,
        placed_trustworthiness=None,
        seconds=0,
        made_by="umap-learn 0.5",
    )


def test_what_drew_the_map_is_named_with_how_many_images() -> None:
    drawn = projection_of()
    words = claims.drawn_by(drawn)
    assert words.startswith("UMAP (umap-learn 0.5) drew the map from all 4 training images; everything else is placed")
    assert "is 1.000 (0 to 1" in words
    assert "from 3 of the 4 training" in claims.drawn_by(dataclasses.replace(drawn, sample=np.arange(3)))


def test_what_the_crosses_on_the_map_mark_is_counted() -> None:
    drawn = projection_of()
    assert "1 of 4 images" in claims.far_from_all(drawn, test=False)
    assert "3 of 6 images" in claims.far_from_all(drawn, test=True)


def test_without_a_black_box_sentences_are_about_accuracy() -> None:
    alone = dataclasses.replace(sweep_of(), accuracy_black_box=None)
    assert curves.swept_share([sweep_of()]) == ("agreement", "agrees with the black box on")
    assert curves.swept_share([alone]) == ("accuracy", "is correct on")
    assert "black box" not in claims.predictions_over_k([alone], 2)
    assert ": accuracy +" in curves.last_step([alone], 2)


def test_every_claim_is_tried() -> None:
    own = {name: value for name, value in vars(claims).items() if getattr(value, "__module__", "") == claims.__name__}
    functions = [name for name, value in own.items() if not dataclasses.is_dataclass(value)]
    tried = Path(__file__).read_text()
    assert functions
    assert [name for name in functions if f"claims.{name}(" not in tried] == []


# ---- prototypes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("effective", "place"), [(1.2, "below"), (1.3, "within"), (1.4, "above")])
def test_the_effective_number_is_compared_with_chance_and_groups(effective: float, place: str) -> None:
    said = claims.effective_number(summary(effective=effective), 2)
    assert f"the effective number is {effective:.2f}, {place} the band of as many random" in said
    assert "(1.25 to 1.35 in 95% of draws)" in said
    assert "as many equidistant groups would score 2.00" in said


def test_the_effective_number_of_one_prototype_and_of_a_dot_product() -> None:
    assert claims.effective_number(summary(), 1) == "With one prototype per class, the effective number is 1."
    assert claims.effective_number(summary(effective=None, effective_random_low=None), 5) == ""


def test_stability_is_compared_with_chance() -> None:
    moved, index = np.array([0.1, 0.3, 0.2]), np.array([0.9, np.nan, 0.7])
    said = claims.stability(Stability((0, 1, 2), moved, np.full(3, 0.8), index), NAMES)
    assert "Over 3 seeds, matched prototypes are 0.20 standard deviations of their class apart" in said
    assert "random training images they are 0.80 apart" in said
    assert "index of the assigned images is 0.80 (chance: 0)" in said
    assert said.endswith("They move farthest in 'bee'.")
    still = claims.stability(Stability((0, 1, 2), np.zeros(3), np.full(3, 0.8), np.full(3, np.nan)), NAMES)
    assert "Rand" not in still
    assert "farthest" not in still


# ---- relevance maps -------------------------------------------------------------------------------------------------


def test_the_checks_of_maps_name_those_that_win_and_those_that_do_not() -> None:
    said = claims.map_checks(suite_of())
    assert said.startswith("Best mean rank over deletion and insertion: **good**.\n\n- ")
    assert "Better than a random order of pixels in all 6 tests: good, middling.\n" in said
    assert "- In none: bad.\n" in said
    assert said.endswith("Whatever the rival, the map is as good for it: middling, bad.")
    mixed = suite_of()
    mixed.kept[1, :, 0] = mixed.kept[3, :, 0]
    assert "- Better in some: middling.\n" in claims.map_checks(mixed)
