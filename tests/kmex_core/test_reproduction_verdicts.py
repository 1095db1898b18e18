"""Verdicts on the paper's figures: their numbers beside scipy's and by hand, what they never say, and their reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from kmex_core.analysis import published
from kmex_core.reproduction import verdicts
from kmex_core.reproduction.types import Cell, Measured
from kmex_core.reproduction.verdicts import causes, deviation, setting_of, standard_error, verdict
from tests.helpers.reproductions import cell, setting

FINITE = st.integers(0, 1000).map(lambda number: number / 1000)
VALUES = st.lists(FINITE, min_size=1, max_size=5).map(tuple)


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_standard_errors_are_those_of_welch() -> None:
    """Two samples with the paper's mean and deviation and with ours: the statistic of Welch's test."""
    ours = (0.88, 0.9, 0.895, 0.885)
    for runs in (3, 5):
        paper = np.array([-1.0, *[0.0] * (runs - 2), 1.0])
        paper = 0.9 + 0.01 * paper / paper.std(ddof=1)
        expected = scipy.stats.ttest_ind(ours, paper, equal_var=False).statistic
        assert verdict(cell(*ours), setting(paper_runs=runs)).standard_errors == pytest.approx(expected)
    assert standard_error(cell(*ours)) == pytest.approx(np.hypot(0.01 / 5**0.5, np.std(ours, ddof=1) / 2))


def test_a_single_training_varies_as_the_papers_do() -> None:
    found = verdict(cell(0.906))
    assert found.standard_errors == pytest.approx(0.006 / (0.01 * (1 / 5 + 1) ** 0.5))
    assert "One training has no spread: the deviation is the paper's alone." in found.because
    assert deviation(cell(0.906)) == 0.01


def test_without_any_spread_the_rounding_of_the_paper_is_allowed() -> None:
    """99.4 ± 0.0 per cent: two times half of 0.1 points."""
    exact = cell(0.993, mean=0.994, std=0.0)
    found = verdict(exact)
    assert (found.outcome, found.standard_errors) == ("reproduced", None)
    assert "half a unit in the last of them" in found.because
    assert "(0.10 points)" in found.because
    assert verdict(replace(exact, published=Measured("accuracy", (0.9929,)))).outcome == "differs"
    same = verdict(cell(0.993, 0.993, mean=0.994, std=0.0))
    assert "Both spreads are 0" in same.because


def test_a_deviation_is_of_both() -> None:
    assert deviation(cell(0.9, 0.92)) == pytest.approx(np.hypot(0.01, np.std([0.9, 0.92], ddof=1)))
    wide = cell(0.9, 0.97)  # 0.035 above, twice √(0.01² + 0.0495²) = 0.101
    assert verdict(wide).outcome == "reproduced"
    assert verdict(cell(0.935, 0.935)).outcome == "differs"


def test_table_4_is_compared_over_images_as_well() -> None:
    drop = cell(0.2, table=4, metric="average_drop_reference", mean=0.121, std=0.234, over_images=0.2)
    found = verdict(drop)
    expected = 0.079 / (np.hypot(0.234, 0.2) / 1000**0.5)
    assert found.standard_errors == pytest.approx(expected)
    assert found.outcome == "reproduced"
    assert f"over 1,000 images the difference is {expected:.1f}, more than the choice of images gives" in found.because
    assert "no more than the choice" in verdict(replace(drop, mean=0.19)).because
    unknown = replace(drop, published=Measured("average_drop_reference", (0.2,)))
    assert verdict(unknown).standard_errors == pytest.approx(0.079 / (0.234 * (2 / 1000) ** 0.5))


def test_the_papers_own_figures_are_reproduced_exactly() -> None:
    assert published.figures()
    for figure in published.figures():
        own = Cell(
            figure.table, figure.metric, figure.model, figure.dataset, figure.mean, figure.std,
            Measured(figure.metric, (figure.mean,)),
        )  # fmt: skip
        found = verdict(own)
        assert found.outcome == "reproduced"
        assert found.standard_errors in (0.0, None)
        assert "equal to the paper's" in found.because


# ---- what holds for any figure --------------------------------------------------------------------------------------


@given(VALUES, FINITE, FINITE, FINITE, st.sampled_from([3, 4, 7]))
def test_a_larger_difference_is_never_a_better_verdict(
    values: tuple[float, ...], mean: float, std: float, farther: float, table: int
) -> None:
    near = cell(*values, mean=mean, std=std, table=table)
    away = farther if np.mean(values) >= mean else -farther
    far = cell(*(value + away for value in values), mean=mean, std=std, table=table)
    one, other = verdict(near), verdict(far)
    assert (one.outcome, other.outcome) != ("differs", "reproduced")
    if one.standard_errors is not None and other.standard_errors is not None:
        assert abs(other.standard_errors) >= abs(one.standard_errors) - 1e-6


@given(VALUES, FINITE, FINITE, st.sampled_from([3, 4, 7]))
def test_above_and_below_are_judged_alike(values: tuple[float, ...], mean: float, std: float, table: int) -> None:
    one = cell(*values, mean=mean, std=std, table=table)
    limit = verdicts.WITHIN * deviation(one)
    mirrored = cell(*(2 * mean - value for value in values), mean=mean, std=std, table=table)
    if abs(abs(np.mean(values) - mean) - limit) > 1e-6:  # not on the edge, where rounding decides
        assert verdict(one).outcome == verdict(mirrored).outcome
    errors = verdict(one).standard_errors, verdict(mirrored).standard_errors
    assert (errors[0] is None) == (errors[1] is None)
    if errors[0] is not None and errors[1] is not None:
        assert errors[0] == pytest.approx(-errors[1], abs=1e-6)


@given(st.lists(st.floats(), max_size=4), FINITE, FINITE, st.text(min_size=1))
def test_what_is_missing_or_no_number_is_never_reproduced(
    values: list[float], mean: float, std: float, missing: str
) -> None:
    numbers = bool(values) and bool(np.isfinite(values).all())
    some = cell(mean=mean, std=std, published=Measured("accuracy", tuple(values)))
    assert (verdict(some).outcome == "cannot be had") == (not numbers)
    for none in (cell(mean=mean, std=std), replace(some, missing=missing)):
        found = verdict(none)
        assert (found.outcome, found.standard_errors) == ("cannot be had", None)
    assert verdict(replace(some, missing=missing)).because == missing
    assert verdict(cell()).because == "Nothing was measured for it."


# ---- chance and reasons ---------------------------------------------------------------------------------------------


def test_what_chance_gives_as_well_is_said() -> None:
    levels = (("a uniform map", 0.3), ("another image's map", 0.21), ("nothing", float("nan")))
    measured = cell(0.2, table=6, metric="faithfulness", mean=0.199, std=0.01, chance=levels)
    found = verdict(measured)
    assert verdicts.chance_as_well(measured) == [levels[1]]
    assert "Chance would give it as well: another image's map (0.210 nats)." in found.because
    assert "Chance" not in verdict(replace(measured, std=0.001)).because
    assert "Chance" not in verdict(replace(measured, mean=0.24)).because  # which chance gives, and ours does not


def test_what_was_less_is_in_every_verdict() -> None:
    short = ("random initial weights", "3 of 10 epochs")
    for values in ((0.9,), (0.5,), (0.99,)):
        assert all(phrase in verdict(cell(*values, short=short)).because for phrase in short)


def test_reasons_are_what_is_known_and_nothing_else() -> None:
    lower = cell(0.8, short=("3 of 10 epochs",))
    assert causes(lower) == ["3 of 10 epochs"]
    assert causes(lower, setting()) == ["3 of 10 epochs", "Other initial weights"]
    assert verdict(lower, setting()).because.endswith(
        "Known differences, any of which can be the cause: (1) 3 of 10 epochs; (2) Other initial weights."
    )
    assert verdict(lower).because.endswith("A known difference, which can be the cause: 3 of 10 epochs.")
    assert verdict(cell(0.8)).because.endswith("Nothing that is known explains it.")


def test_less_training_does_not_explain_a_better_accuracy() -> None:
    found = verdict(cell(0.97, short=("3 of 10 epochs",)))
    assert found.outcome == "differs"
    assert "which does not raise an accuracy: 3 of 10 epochs." in found.because
    assert found.because.endswith("Nothing that is known explains it.")
    assert causes(cell(0.6, table=5, metric="ghosting", mean=0.2, short=("3 of 10 epochs",)))[0] == "3 of 10 epochs"


@pytest.mark.parametrize(
    ("table", "metric", "model", "dataset", "words"),
    [
        (5, "ghosting", "FLINT", "SVHN", ["1 − 1/K"]),
        (7, "diversity_reference", "ProtoVAE", "SVHN", ["rounding in 32 bits"]),
        (7, "diversity_reference", "FLINT", "SVHN", []),  # a dot product
        (8, "diversity_reference", "FLINT+KMEx", "SVHN", ["rounding in 32 bits"]),
        (4, "average_drop_reference", "R34+KMEx", "SVHN", ["do not depend on the prototype", "less relevant half"]),
        (4, "average_drop_reference", "ResNet34", "SVHN", []),
        (3, "accuracy", "ProtoPNet", "CIFAR-10", ["normalises this data set"]),
        (3, "accuracy", "FLINT", "QuickDraw", ["normalises this data set"]),
        (3, "accuracy", "R34+KMEx", "MNIST", ["from the test split"]),
        (8, "diversity_reference", "FLINT+KMEx", "MNIST", ["rounding in 32 bits", "from the test split"]),
        (3, "accuracy", "ProtoPNet", "MNIST", []),
        (6, "faithfulness", "R34+KMEx", "SVHN", []),
    ],
)
def test_defects_are_named_where_they_bear_on_a_figure(
    table: int, metric: str, model: str, dataset: str, words: list[str]
) -> None:
    found = causes(cell(0.1, table=table, metric=metric, model=model, dataset=dataset))
    assert len(found) == len(words)
    assert all(word in phrase for word, phrase in zip(words, found, strict=True))


def test_a_figure_knows_its_trainings() -> None:
    settings = [setting(), setting(kind="protopnet"), setting(dataset="SVHN"), setting(kind="unknown")]
    assert setting_of(cell(model="R34+KMEx"), settings) is settings[0]
    assert setting_of(cell(model="ProtoPNet+KMEx"), settings) is settings[1]
    assert setting_of(cell(dataset="SVHN"), settings) is settings[2]
    assert setting_of(cell(model="FLINT"), settings) is None
