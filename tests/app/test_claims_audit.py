"""Headlines follow the data: each is tried on numbers that are better than chance, and on some that are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.claims import Difference, audit
from kmex_core.metrics.catalogue import METRICS
from kmex_core.metrics.stability import Stability
from kmex_core.metrics.types import AgainstChance, Evaluation, Measured
from tests.helpers.results import summary


@pytest.mark.parametrize(
    ("missed", "constant", "drawn", "verdict", "tone"),
    [
        (5, 0.2, None, "better than chance", "good"),
        (5, 0.2, (0.8, 0.9), "better than chance", "good"),
        (5, 0.2, (0.9, 0.96), "no better than random prototypes", "open"),
        (5, 0.2, (0.96, 0.99), "worse than random prototypes", "bad"),
        (50, 0.5, None, "no better than chance", "open"),
        (90, 0.5, (0.0, 0.05), "no better than chance", "bad"),
    ],
)
def test_agreement_is_compared_with_one_class_and_with_random_prototypes(
    missed: int, constant: float, drawn: tuple[float, float] | None, verdict: str, tone: str
) -> None:
    found = audit.share("agreement", "KMEx decides as the black box", missed, 100, constant, drawn)
    assert (found.verdict, found.tone) == (verdict, tone)
    assert f"Agreement ↑ **{100 - missed}.0%** (95% interval " in found.text
    assert f"KMEx decides as the black box in all but **{missed} of 100** test images." in found.text
    assert f"one class would reach {constant:.1%}" in found.chance
    assert ("random training images" in found.chance) == (drawn is not None)


def test_an_agreement_on_all_images_is_said_so() -> None:
    found = audit.share("accuracy", "KMEx is correct", 0, 40, 0.1, None)
    assert found.text.endswith("KMEx is correct in all **40** test images.")


def test_accuracy_is_beside_the_black_box_and_a_test() -> None:
    said = audit.beside_black_box(0.93, 0.935, Difference("-0.5 points, -10 of 2,000", False, ""))
    assert "correct for **93.0%** of the test images, the black box for 93.5% (-0.5 points" in said
    assert said.endswith(": no more than chance).")
    assert "(x: more than chance)" in audit.beside_black_box(0.9, 0.8, Difference("x", True, ""))


def test_confidence_is_said_in_points_beside_the_black_box() -> None:
    assert audit.confidence("KMEx", 0.0234, 0.015) == (
        "The confidence of KMEx is off by 2.3 percentage points on average, that of the black box by 1.5."
    )
    assert "black box" not in audit.confidence("KMEx", 0.02, None)


def test_ghosts_are_counted_and_chance_is_said_of_distances_alone() -> None:
    none, some = audit.ghosts(0, 50, True), audit.ghosts(12, 50, True)
    assert (none.verdict, none.tone) == ("no ghosts", "good")
    assert "each prototype is the nearest" in none.text
    assert (some.verdict, some.tone) == ("worse than random prototypes", "bad")
    assert "**12 of 50** (24.0%)" in some.text
    assert "would have none" in none.chance == some.chance
    assert audit.ghosts(12, 50, False).chance == audit.ghosts(0, 50, False).chance == ""


@pytest.mark.parametrize(
    ("effective", "verdict", "tone"),
    [(1.2, "less diverse", "bad"), (1.3, "as diverse as", "open"), (1.4, "more diverse", "good")],
)
def test_diversity_is_compared_with_random_images(effective: float, verdict: str, tone: str) -> None:
    found = audit.diversity(summary(effective=effective), 2, means=True)
    assert found.verdict.startswith(verdict)
    assert found.tone == tone
    assert f"**{effective:.2f} of 2**" in found.text
    assert "count as 1.25 to 1.35 (95% of draws)" in found.chance
    assert ("means are closer together" in found.chance) == (tone == "bad")
    assert "means are" not in audit.diversity(summary(effective=1.2), 2, means=False).chance


def test_diversity_of_one_prototype_and_of_a_dot_product_is_not_measured() -> None:
    for found in (
        audit.diversity(summary(), 1, means=True),
        audit.diversity(summary(effective=None, effective_random_low=None), 5, means=False),
    ):
        assert found.verdict == "not measured"


@pytest.mark.parametrize(("moved", "verdict"), [(0.2, "more stable than chance"), (0.9, "no more stable than chance")])
def test_stability_is_compared_with_random_images(moved: float, verdict: str) -> None:
    names = ("*ant*", "bee")
    found = audit.stability(Stability((0, 1), np.array([moved, 0.0]), np.full(2, 0.4), np.full(2, 0.5)), names)
    assert found.verdict == verdict
    assert "*ant*" not in found.text  # names are text


def evaluation(*measured: tuple[str, float, dict[str, tuple[float, bool]]]) -> Evaluation:
    """Metrics with their chance levels, each with its value and whether the metric is better."""
    metrics = {}
    for name, value, levels in measured:
        against = tuple(AgainstChance(level, 1.0 if better else 0.0, 0.1) for level, (_, better) in levels.items())
        metrics[name] = Measured(name, (value,), against=against)
        metrics.update({level: Measured(level, (mean,)) for level, (mean, _) in levels.items()})
    return Evaluation(("net",), "blackbox", "digits", "resnet20", 5, (0,), 10, 10, "margin", "x", metrics)


def test_maps_are_faithful_as_far_as_they_beat_maps_that_know_less() -> None:
    def found(uniform: bool, runner_up: bool) -> audit.Headline:
        levels = {"faithfulness_uniform": (0.5, uniform), "faithfulness_runner_up": (0.1, runner_up)}
        headline = audit.faithful_maps(evaluation(("faithfulness", 0.2, levels)), "KMEx")
        assert headline is not None
        assert "**0.200 nats** of the maps of KMEx" in headline.text
        return headline

    assert found(True, True).tone == "good"
    partly = found(True, False)
    assert partly.verdict == "partly faithful"
    assert partly.chance == (
        "Chance: nearer to the black box's than a uniform map (0.500); no nearer than the runner-up class's map "
        "(0.100)."
    )
    assert found(False, False).verdict == "no more faithful than chance"
    assert audit.faithful_maps(evaluation(), "KMEx") is None


def test_maps_are_robust_as_far_as_they_beat_a_random_order() -> None:
    def found(*better: bool) -> audit.Headline:
        names = [(name, f"{name}_random") for name in audit.ROBUSTNESS]
        tests = [(name, 0.2, {level: (0.3, won)}) for (name, level), won in zip(names, better, strict=False)]
        return audit.robust_maps(evaluation(*tests), "KMEx")

    assert found(True, True, True).verdict == "robust beyond chance"
    some = found(True, False, True)
    assert some.verdict == "robust in some tests"
    assert "in **2 of 3** tests" in some.text
    assert "no better by average increase ↑ (20.0%, random 30.0%)" in some.chance
    assert found(False).verdict == "no more robust than chance"
    assert found().verdict == "not measured"
    assert all(METRICS[name].maps for name in audit.ROBUSTNESS)


@pytest.mark.parametrize(
    ("shown", "missed", "said"),
    [([], 0, "No test image"), ([3, 2], 5, "All **5** mistakes:"), ([3, 2], 9, "mistakes, 5 of **9**:")],
)
def test_mistakes_are_counted(shown: list[int], missed: int, said: str) -> None:
    assert said in audit.mistakes(shown, missed)


def test_every_headline_is_tried() -> None:
    own = [name for name, value in vars(audit).items() if getattr(value, "__module__", "") == audit.__name__]
    made = [name for name in own if name != "Headline" and not name.startswith("_")]
    tried = Path(__file__).read_text()
    assert len(made) == 9
    assert [name for name in made if f"audit.{name}(" not in tried] == []
