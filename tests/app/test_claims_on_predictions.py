"""What is said of a prediction follows the prediction: tried on made-up ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from app.claims import predictions
from app.claims.framing import prepared
from app.selection import Selection
from kmex_core.base.plain_text import spans
from kmex_core.data.framing import read_framing
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import BuiltIn, KMeans
from kmex_core.relevance.types import MapVerdict, Prediction
from tests.helpers.results import prototypes_of

NAMES = ("ant", "b*ee", "cat")
INFO = ModelInfo("m", "blackbox", "digits", "", "resnet20", NAMES, Preprocessing.plain(8, 1), 0.9, {})
KMEX = Selection(INFO, KMeans(2))


# ---- near ties ------------------------------------------------------------------------------------------------------


def explained(distance: list[float], probability: Sequence[float] = (0.4, 0.3, 0.3)) -> Prediction:
    away = np.array(distance, np.float32)
    similarity = np.log((away**2 + 1) / (away**2 + 1e-4))
    classes = np.arange(len(away)) // 2
    return Prediction(
        black_box=np.array(probability),
        predicted_black_box=0,
        kmex=np.array(probability),
        predicted=int(classes[similarity.argmax()]),
        calibrated=True,
        distance=away,
        similarity=similarity,
        unusual=False,
        distance_rank=0.5,
    )


CLASSES = np.array([0, 0, 1, 1, 2, 2])


def test_a_near_tie_is_named_with_both_similarities() -> None:
    close = predictions.near_tie(explained([0.7645, 0.765, 0.9, 0.772, 2, 3]), CLASSES, NAMES, built_in=False)
    assert close.startswith("**Near tie** with **b\\*ee**")
    assert "0.772 against 0.765" in close
    assert "5%" in close  # the rule


@pytest.mark.parametrize(
    "distance",
    [[0.764, 0.765, 0.9, 0.81, 2, 3], [0.5, 0.5, 2, 2, 2, 2]],
    ids=["6% farther", "the second of the same class is near"],
)
def test_a_clear_decision_is_no_near_tie(distance: list[float]) -> None:
    assert predictions.near_tie(explained(distance), CLASSES, NAMES, built_in=False) == ""


def test_a_model_of_its_own_ties_by_probability() -> None:
    assert "31.0% against 35.0%" in predictions.near_tie(
        explained([1] * 6, [0.35, 0.31, 0.3]), CLASSES, NAMES, built_in=True
    )
    assert predictions.near_tie(explained([1] * 6, [0.5, 0.3, 0.2]), CLASSES, NAMES, built_in=True) == ""
    assert predictions.near_tie(explained([1, 1], [1.0]), np.zeros(2, int), ("ant",), built_in=True) == ""
    assert predictions.near_tie(explained([1, 1]), np.zeros(2, int), ("ant",), built_in=False) == ""


def test_how_far_an_image_is_follows_its_rank() -> None:
    farther = "of the training images are farther from their nearest prototype than this image is."
    assert predictions.how_near(0.73) == f"27% {farther}"
    assert predictions.how_near(0.9999) == f"1% {farther}"  # never rounded to all or none
    assert predictions.how_near(0.0004) == f"99% {farther}"
    assert predictions.how_near(1.0).startswith("Every training image is nearer")
    assert predictions.how_near(0.0).startswith("This image is nearer")


def said(prediction: Prediction, label: int | None = None, chosen: Selection = KMEX) -> predictions.Verdict:
    prototypes = prototypes_of(np.eye(6, 4, dtype=np.float32), CLASSES)
    return predictions.verdict(chosen, prototypes, prediction, label)


CLEAR = explained([1, 2, 3, 4, 5, 6], (0.9, 0.06, 0.04))


def test_a_verdict_names_both_predictions_and_the_true_class() -> None:
    assert said(CLEAR).headline == "The black box (90.0%) and KMEx (90.0%) both predict **ant**."
    assert said(CLEAR).correct is None
    right, wrong = said(CLEAR, 0), said(CLEAR, 1)
    assert right.headline.endswith("both predict **ant**. Correct.")
    assert right.correct
    assert spans(wrong.headline)[-2:] == [("b*ee", True), (", so both are wrong.", False)]
    assert wrong.correct is False
    other = dataclasses.replace(CLEAR, predicted_black_box=1)
    assert "KMEx predicts **ant** (90.0%): they disagree." in said(other).headline
    assert said(other, 1).headline.endswith("so KMEx is wrong.")
    assert said(other, 0).headline.endswith("so the black box is wrong.")
    assert said(CLEAR).unusual == said(CLEAR).tie == said(CLEAR).likelier == ""
    assert said(CLEAR).near.startswith("Not unusual: 50% of the training images")


def test_without_a_black_box_none_is_named() -> None:
    built_in = Selection(dataclasses.replace(INFO, kind="protopnet"), BuiltIn())
    assert (
        said(CLEAR, 1, built_in).headline == "ProtoPNet predicts **ant** (90.0%). The true class is **b\\*ee**, so "
        "ProtoPNet is wrong."
    )
    encoder = dataclasses.replace(CLEAR, black_box=None, predicted_black_box=None)
    chosen = Selection(dataclasses.replace(INFO, outputs=0), KMeans(2))
    assert said(encoder, 0, chosen).headline == "KMEx predicts **ant** (90.0%). Correct."


def test_a_picture_unlike_the_training_data_is_a_best_guess() -> None:
    strange = said(dataclasses.replace(CLEAR, unusual=True, distance_rank=1.0))
    assert strange.unusual.startswith("**Unlike the training data.** Every training image is nearer")
    assert "predicts one of them for any image" in strange.unusual
    assert strange.headline.startswith("Best guess: The black box")
    assert "Not unusual" not in strange.near
    assert "Not unusual" not in said(dataclasses.replace(CLEAR, distance_rank=0.97)).near


def test_all_prototypes_together_may_make_another_class_likelier() -> None:
    torn = explained([1, 9, 1.2, 1.2, 9, 9], (0.4, 0.6, 0.0))
    assert "make **b\\*ee** likelier (60.0%)" in said(torn).likelier


def test_what_decides_is_named_by_its_number_in_its_class() -> None:
    prototypes = prototypes_of(np.eye(6, 4, dtype=np.float32), CLASSES)
    near = dataclasses.replace(CLEAR, similarity=np.array([0, 0, 0, 9, 0, 0.0]))
    assert predictions.decides(KMEX, prototypes, near).endswith("nearest prototype: **Prototype 2 of b\\*ee**.")
    flint = Selection(dataclasses.replace(INFO, kind="flint"), BuiltIn())
    assert predictions.decides(flint, prototypes, near).startswith("FLINT weighs the similarities to all prototypes.")


def test_what_happens_to_a_picture_is_said() -> None:
    picture, whole = np.zeros((8, 20), np.uint8), read_framing("")
    assert prepared(INFO, picture, whole) == (
        "20 × 8 pixels, **squeezed into a square** (one side shrinks 2.50 times as much as the other); squeezed into "
        "8 × 8 pixels, greyscale."
    )
    assert prepared(INFO, picture, read_framing("pad")).startswith("20 × 8 pixels, padded to a square; ")
    assert prepared(INFO, picture[:, :8], whole) == "8 × 8 pixels, the size of the network's input."
    assert "squeezed into 8 × 8" in prepared(INFO, picture[:, :8], read_framing("invert"))


def test_distances_are_compared_with_those_of_training_images() -> None:
    prototypes = prototypes_of(np.eye(6, 4, dtype=np.float32), CLASSES)
    prototypes = dataclasses.replace(prototypes, distance_quantiles=np.linspace(0, 4, 101, dtype=np.float32))
    assert predictions.how_far(KMEX, prototypes, CLEAR, 2) == "distance 3.00, 1.5 × usual"
    assert "2.00. The farthest 1% of them are at 2.0 × usual or beyond." in predictions.usual(KMEX, prototypes)
    same = dataclasses.replace(prototypes, distance_quantiles=np.zeros(101, np.float32))
    assert predictions.how_far(KMEX, same, CLEAR, 2) == "distance 3.00"
    assert predictions.usual(KMEX, same) == ""
    flint = Selection(dataclasses.replace(INFO, kind="flint"), BuiltIn())
    assert predictions.how_far(flint, prototypes, CLEAR, 0).startswith("similarity 0.69")
    assert predictions.usual(flint, prototypes) == ""
    assert predictions.scale(flint, prototypes) is predictions.scale(KMEX, same) is None
    assert predictions.scale(KMEX, prototypes) == pytest.approx((2, 3.96))


# ---- relevance maps -------------------------------------------------------------------------------------------------


def verdict(**changed: object) -> MapVerdict:
    """Of two replacements and two shares of the pixels."""
    usual: dict[str, object] = {
        "margin": np.array([[0.5, 0.1], [0.6, 0.3]]),
        "random": np.array([[0.9, 0.8], [0.9, 0.6]]),
        "brightness": np.array([[0.9, 0.5], [0.2, 0.1]]),
        "cosine": 0.5,
        "specificity": 0.25,
    }
    return MapVerdict(**{**usual, **changed})  # type: ignore[arg-type]


def test_a_map_is_measured_beside_random_order_and_brightness() -> None:
    below = predictions.map_verdict(verdict(margin=np.full((2, 2), -0.2)), (0.1, 0.3), "bee")
    assert "−20% of the margin of **bee** is left (below 0, another class is nearer); 70%" in below
    said = predictions.map_verdict(verdict(), (0.1, 0.3), "a*b")
    assert "Without its top 30% of pixels, 20% of the margin of **a\\*b** is left; 70% in random order" in said
    assert "30% by brightness" in said
    assert "random order under 2 of 2 replacements and brightness under 1 of 2 replacements" in said
    assert "It depends on the rival" in said
    assert "cosine 0.50" in said
    assert "specificity +0.25" in said


@pytest.mark.parametrize("changed", [{"cosine": 0.995}, {"specificity": -0.1}])
def test_a_map_that_ignores_the_rival_is_labelled(changed: dict[str, object]) -> None:
    assert "**It does not depend on the rival**" in predictions.map_verdict(verdict(**changed), (0.1, 0.3), "bee")


def test_a_map_has_its_worth_in_a_line() -> None:
    worse = np.full((2, 2), 0.95)
    assert predictions.map_worth(verdict()).startswith("**Better than random order**: removing")
    assert predictions.map_worth(verdict(margin=worse)).startswith("**No better than random order**")
    mixed = np.array([[0.5, 0.1], [0.95, 0.95]])
    assert "under 1 of 2 replacements** of the" in predictions.map_worth(verdict(margin=mixed))
    assert predictions.map_worth(verdict(cosine=0.995)).endswith("It does not depend on the rival.")
    assert "no margin" in predictions.map_worth(verdict(margin=None))


def test_with_two_classes_there_is_no_other_rival() -> None:
    said = predictions.map_verdict(verdict(cosine=None, specificity=None, margin=None), (0.1, 0.3), "bee")
    assert said == "With two classes there is no other rival, so whether the map depends on it is not defined."
