"""Which model is best by a metric: said only where intervals tell it from the next one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from kmex_core.analysis.ranking import Best, Entry, best, entries, interval
from kmex_core.metrics.types import Evaluation, Measured

EVALUATION = Evaluation(("net",), "protovae", "digits", "resnet18", 5, (0,), 100, 500, "similarity", "prp", {})


def one(label: str, mean: float, *ends: float) -> Entry:
    return Entry(label, mean, (ends[0], ends[1]) if ends else None)


def test_the_best_is_said_only_where_intervals_do_not_overlap() -> None:
    a, b, c = one("a", 3.0, 2.8, 3.2), one("b", 2.0, 1.7, 2.3), one("c", 2.9)
    assert best([b, a], "higher") == Best("a", "b", True)
    assert best([b, a], "lower") == Best("b", "a", True)
    assert best([one("a", 3.0, 2.0, 4.0), b], "higher") == Best("a", "b", False)
    assert best([a, b, c], "higher") == Best("a", "c", None)  # c's interval is unknown
    assert best([one("a", 1.0, 1.0, 1.0), one("b", 1.0, 1.0, 1.0)], "lower") == Best("a", "b", False)  # a tie
    assert best([a], "higher") == Best("a", "", None)
    assert best([b, a], "higher").is_clear  # type: ignore[union-attr]
    chance = best([b, replace(a, beats_chance=False)], "higher")
    assert chance == Best("a", "b", True, False)
    assert not chance.is_clear
    assert best([], "higher") is None


def test_accuracies_are_compared_on_the_same_images() -> None:
    right, other = np.zeros(500, bool), np.zeros(500, bool)
    right[:480], other[:460] = True, True
    # by their Wilson intervals they overlap; 20 images against none are no chance
    wilson = [stats.binomtest(int(each.sum()), 500).proportion_ci(method="wilson") for each in (right, other)]
    assert wilson[0].low < wilson[1].high
    values = [Entry("a", 0.96, tuple(wilson[0]), right), Entry("b", 0.92, tuple(wilson[1]), other)]
    assert best(values, "higher") == Best("a", "b", True)
    other[:] = right
    assert best([values[0], Entry("b", 0.92, tuple(wilson[1]), other)], "higher") == Best("a", "b", False)


def test_what_an_interval_is_over() -> None:
    kmex, alone = replace(EVALUATION, built_in=False), replace(EVALUATION, built_in=True)
    share = Measured("accuracy", (0.9,), interval=(0.85, 0.93))
    assert interval(kmex, "accuracy", share) == (0.85, 0.93)
    over_images = interval(kmex, "average_drop", Measured("average_drop", (0.2,), std_images=0.1))
    assert over_images == pytest.approx((0.2 - 0.0196, 0.2 + 0.0196))
    runs = (2.1, 2.4, 2.2, 2.5, 2.3)
    found = interval(kmex, "effective", Measured("effective", runs))
    assert found == pytest.approx(stats.t.interval(0.95, 4, np.mean(runs), stats.sem(runs)))
    assert interval(kmex, "effective", Measured("effective", runs[:1])) is None
    assert interval(kmex, "effective", Measured("effective", runs[:2])) is None
    assert interval(alone, "effective", Measured("effective", (3.0,))) == (3.0, 3.0)
    # of test images, and so not exact for built-in prototypes either
    assert interval(alone, "calibration_error", Measured("calibration_error", (0.02,))) is None
    assert interval(alone, "coverage_radius", Measured("coverage_radius", (0.02,))) is None
    assert interval(alone, "effective", Measured("effective", (), reason="A dot product.")) is None


def test_every_row_with_a_value_takes_part() -> None:
    metrics = {
        "accuracy": Measured("accuracy", (0.9,), interval=(0.85, 0.93)),
        "accuracy_black_box": Measured("accuracy_black_box", (0.8,), interval=(0.75, 0.83)),
        "effective": Measured("effective", (), reason="A dot product."),
    }
    right = np.arange(500) < 450
    evaluation = replace(EVALUATION, kind="blackbox", metrics=metrics, right=right, right_black_box=~right)
    found = entries([evaluation], "accuracy")
    assert [(entry.label, entry.mean) for entry in found] == [("net", 0.8), ("net + KMEx", 0.9)]
    assert found[0].right is not None
    assert not found[0].right[0]
    assert entries([evaluation], "effective") == []
