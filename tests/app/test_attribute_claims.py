"""Sentences of the page Attributes follow their figures: each is tried where it holds, and where not."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from app.claims import attributes as claims


def groups(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Groups by their attributes and verdict."""
    table = pd.DataFrame(rows, columns=["attribute", "other", "verdict"])
    names = [f"{attribute} + {other}" if other else attribute for attribute, other, _ in rows]
    shares = {"accuracy": 0.4, "low": 0.3, "high": 0.5, "chance_low": 0.6, "chance_high": 1.0}
    return table.assign(group=names, images=20, **shares)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (groups(("Hat", "", "within")), "None of 1 groups differs from chance: their accuracies are within chance."),
        (
            groups(("Hat", "", "worse"), ("A_B", "Hat", "worse"), ("Tie", "", "within")),
            "2 of 3 groups are less accurate than by chance, all with **Hat**.",
        ),
        (
            groups(("Hat", "", "worse"), ("Tie", "", "worse"), ("Cap", "*x*", "better")),
            "2 of 3 groups are less accurate than by chance; 1 of 3 groups is more accurate than by chance, the one "
            r"with **\*x\*** and **Cap**.",
        ),
    ],
)
def test_groups_are_compared_with_chance_and_have_their_cause_named(table: pd.DataFrame, expected: str) -> None:
    assert claims.groups_against_chance(table) == expected


@pytest.mark.parametrize("verdict", ["better", "within", "worse"])
def test_the_least_accurate_group_says_how_it_compares(verdict: str) -> None:
    table = groups(("Dark_Skin", "Hat", verdict))
    said = claims.least_accurate(table, "KMEx", 0.9)
    assert said == (
        "Least accurate: **Dark Skin + Hat**. KMEx is correct on 40.0% of its 20 test images (95% interval 30.0% to "
        f"50.0%), against 90.0% of all test images; {claims.ACCURACY[verdict]}."
    )
    beside = table.assign(accuracy_black_box=0.25)
    assert claims.least_accurate(beside, "KMEx", 0.9).endswith(" The black box reaches 25.0%.")
    about = claims.of_group(beside.iloc[0].to_dict(), "KMEx")
    assert "by chance 60.0% to 100.0%; black box 25.0%" in about
    assert about.endswith(claims.ACCURACY[verdict])


@pytest.mark.parametrize(
    ("prototypes", "beyond", "expected"), [(5, True, "more"), (5, False, "within"), (0, True, "fewer")]
)
def test_numbers_of_prototypes_are_compared_with_chance(prototypes: int, beyond: bool, expected: str) -> None:
    row: dict[str, Any] = {"attribute": "Red_Hair", "images": 1200, "frequency": 0.2, "prototypes": prototypes}
    row |= {"among_prototypes": prototypes / 15, "expected": 3.0, "beyond_chance": beyond, "captured_chance": 0.9}
    assert claims.often(row) == expected
    said = claims.in_prototypes(row, 15)
    assert said.startswith("**Red Hair** occurs in 1,200 training images (20.0%)")
    assert f"give 3.0 on average: {claims.OFTEN[expected]}." in said


@pytest.mark.parametrize("count", [0, 2])
def test_pairs_are_compared_with_chance(count: int) -> None:
    table = pd.DataFrame({"beyond_chance": [row < count for row in range(3)]})
    for said in (claims.pairs_against_chance(table, 4.3), claims.correlations_against_chance(table, 0.5)):
        assert said.startswith("2 of 3 pairs " if count else "None of 3 pairs ")
        assert said.endswith(": all within chance.") != bool(count)
    pair = {"attribute": "A_B", "other": "C", "images": 0.1, "prototypes": -0.6, "beyond_chance": bool(count)}
    assert claims.of_pair(pair) == (
        "A B and C: correlation +0.10 among the training images, -0.60 among the prototypes; a difference "
        f"{'beyond' if count else 'within'} chance"
    )


def test_marks_say_what_they_count() -> None:
    assert claims.of_prototype("prototype 1 of ant", "A_B", True, 3, 12) == (
        "A B: 3 of 12 images nearest to prototype 1 of ant, 25%; its exemplar has it"
    )
    ghost = claims.of_prototype("prototype 1 of ant", "A_B", False, 0, 0)
    assert ghost == "A B: 0 of 0 images nearest to prototype 1 of ant; its exemplar does not have it"
    assert claims.of_class("ant", "A_B", 2, 5) == "A B: exemplars of 2 of the 5 prototypes of ant have it"
