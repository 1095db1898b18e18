"""Verdicts of the sanity suite of relevance maps, and the suite as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.metrics.accuracy import coin_tail
from kmex_core.metrics.types import BRIGHTNESS, RANDOM, STANDARD_ERRORS, MapChecks
from kmex_core.relevance.types import ALIKE

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05  # of the test of specificity
NO_RANDOM_WEIGHTS = (
    "Random weights: not computed, because a network read from a file with its graph has no layers to draw anew."
)
CHANGED = 0.5  # a rank correlation above it: random weights leave the order of the pixels much as it was


@dataclass(frozen=True)
class Verdict:
    """What the suite says about a row: for R replacements, whether it is better than a reference.

    Better: by more than 1.96 standard errors of the paired differences, image by image.

    Attributes:
        row: its name.
        deletion_random, insertion_random: (R,) better than a random order.
        deletion_brightness, insertion_brightness: (R,) better than the brightest pixels.
        advantage: mean over deletion, insertion and replacements of how much better than a random order, as a share of
            the steps, −1…1.
        specific: share of the images whose specificity is above 0; None where it is not defined.
        specific_beyond_chance: whether that is more than one half, by a binomial test at 95%.
        cosine: mean cosine of the maps against two rivals; None where it is not defined.
        sensitivity: median over the images; None for references.
        randomised: mean rank correlation with the maps of the network whose layers are all random; None for references,
            and where no layers could be drawn anew.
    """

    row: str
    deletion_random: tuple[bool, ...]
    insertion_random: tuple[bool, ...]
    deletion_brightness: tuple[bool, ...]
    insertion_brightness: tuple[bool, ...]
    advantage: float
    specific: float | None
    specific_beyond_chance: bool
    cosine: float | None
    sensitivity: float | None
    randomised: float | None

    @property
    def depends_on_rival(self) -> bool | None:
        """Whether the maps depend on the rival; None where that is not defined."""
        if self.specific is None or self.cosine is None:
            return None
        return self.specific_beyond_chance and self.cosine <= ALIKE

    @property
    def text(self) -> str:
        """The verdict in words."""
        parts = [
            f"better than {name} in deletion under {_of(deletion)} and in insertion under {_of(insertion)} replacements"
            for name, deletion, insertion in (
                (RANDOM, self.deletion_random, self.insertion_random),
                (BRIGHTNESS, self.deletion_brightness, self.insertion_brightness),
            )
            if self.row != name
        ]
        if self.depends_on_rival is not None:
            answer = "yes" if self.depends_on_rival else "no"
            parts.append(f"depends on the rival: {answer} ({self.specific:.0%} of the images, chance 50%)")
        if self.randomised is not None:
            answer = "yes" if abs(self.randomised) <= CHANGED else "no"
            parts.append(f"changes with the weights: {answer} (rank correlation {self.randomised:.2f})")
        return f"{self.row}: {'; '.join(parts)}."


def verdicts(checks: MapChecks) -> list[Verdict]:
    """A verdict on each row."""
    random, bright = checks.rows.index(RANDOM), checks.rows.index(BRIGHTNESS)
    found = []
    for row, name in enumerate(checks.rows):
        values = checks.specificity[row][np.isfinite(checks.specificity[row])]
        above = int((values > 0).sum())
        kind = row < len(checks.randomised)
        found.append(
            Verdict(
                row=name,
                deletion_random=_better(checks.kept[random] - checks.kept[row]),
                insertion_random=_better(checks.inserted[row] - checks.inserted[random]),
                deletion_brightness=_better(checks.kept[bright] - checks.kept[row]),
                insertion_brightness=_better(checks.inserted[row] - checks.inserted[bright]),
                advantage=float(
                    (checks.kept[random] - checks.kept[row] + checks.inserted[row] - checks.inserted[random]).mean() / 2
                ),
                specific=above / len(values) if len(values) else None,
                specific_beyond_chance=bool(len(values)) and _above_half(above, len(values)),
                cosine=_mean(checks.cosine_rival[row]),
                sensitivity=float(np.median(checks.sensitivity[row])) if kind else None,
                randomised=_mean(checks.randomised[row, -1]) if kind and len(checks.random_layers) else None,
            )
        )
    return found


def best(suites: Sequence[MapChecks]) -> list[tuple[str, float]]:
    """Kinds of maps by their mean rank over deletion, insertion, replacements and models, the best first (science.md).

    Ranked by the advantage over a random order, among the kinds that all suites have and whose specificity is above
    chance in each; among all of them if there is none such.

    Returns:
        Names with their mean rank, from 1.
    """
    import pandas as pd

    judged = [{verdict.row: verdict for verdict in verdicts(suite)} for suite in suites]
    names = [
        name
        for name, method in zip(suites[0].rows, suites[0].methods, strict=True)
        if method and all(name in suite.rows for suite in suites)
    ]
    specific = [name for name in names if all(found[name].depends_on_rival for found in judged)]
    names = specific or names
    ranks = np.zeros(len(names))
    count = 0
    for suite in suites:
        rows, random = [suite.rows.index(name) for name in names], suite.rows.index(RANDOM)
        for values in (
            (suite.kept[random] - suite.kept[rows]).mean(1),
            (suite.inserted[rows] - suite.inserted[random]).mean(1),
        ):
            # (kinds, R): the rank of each kind under each replacement, ties shared
            ranks += pd.DataFrame(values).rank(ascending=False).to_numpy().sum(1)
            count += values.shape[1]
    order = np.argsort(ranks, kind="stable")
    return [(names[place], float(ranks[place] / count)) for place in order]


def table(checks: MapChecks) -> pd.DataFrame:
    """The suite: a line for each row, shares as fractions."""
    import pandas as pd

    columns: dict[str, list[object]] = {"row": list(checks.rows), "target": list(checks.targets)}
    columns["method"] = list(checks.methods)
    for side, values in (("kept", checks.kept), ("inserted", checks.inserted)):
        for number, name in enumerate(checks.replacements):
            columns[f"{side}_{name}"] = values[:, :, number].mean(1).tolist()
    judged = verdicts(checks)
    for name in ("advantage", "specific", "cosine", "sensitivity", "randomised"):
        columns[name] = [getattr(verdict, name) for verdict in judged]
    columns["specificity_median"] = [_median(row) for row in checks.specificity]
    columns["cosine_prototype"] = [_mean(row) for row in checks.cosine_prototype]
    columns["seconds_per_image"] = checks.seconds_per_image.tolist()
    columns["verdict"] = [verdict.text for verdict in judged]
    return pd.DataFrame(columns)


def _better(difference: np.ndarray) -> tuple[bool, ...]:
    """(N, R) how much better, image by image, to (R,): whether by more than 1.96 standard errors."""
    error = (
        difference.std(0, ddof=1) / math.sqrt(len(difference))
        if len(difference) > 1
        else np.full(difference.shape[1], np.inf)
    )
    return tuple((difference.mean(0) > STANDARD_ERRORS * error).tolist())


def _above_half(count: int, total: int) -> bool:
    """One-sided binomial test of a share above one half, at 5%."""
    return coin_tail(total, total - count) < LEVEL


def _of(better: Sequence[bool]) -> str:
    return f"{sum(better)} of {len(better)}"


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None
