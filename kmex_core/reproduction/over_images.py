"""A figure of the same images with a defect and without, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kmex_core.metrics.types import STANDARD_ERRORS


@dataclass(frozen=True, eq=False)
class OverImages:
    """A figure of N images with a defect and without, and of chance; NaN for an image without one.

    Attributes:
        with_defect, without, chance: (N,).
        lower: whether a lower figure is better.
        chance_with_defect: (N,) where chance has another figure with the defect; else None.
    """

    with_defect: np.ndarray
    without: np.ndarray
    chance: np.ndarray
    lower: bool
    chance_with_defect: np.ndarray | None = None

    @property
    def means(self) -> tuple[float, float]:
        """With the defect, and without."""
        return _mean(self.with_defect), _mean(self.without)

    @property
    def chance_mean(self) -> float:
        """Of chance; NaN where no image has it."""
        return _mean(self.chance)

    def change(self) -> str:
        """What the defect does to the mean, as a sentence."""
        difference = _known(self.with_defect - self.without)
        change = round(_mean(difference), 3) + 0.0  # no minus before 0
        spread = float(_known(self.without).std()) if len(difference) else 0.0
        if not _beyond_chance(difference):
            return f"The change of the mean by {change:+.3f} is within what chance makes of {len(difference):,} images."
        deviations = f", {abs(change) / spread:.1f} standard deviations over images" if spread > 0 else ""
        return f"The defect changes the mean by {change:+.3f}{deviations}."

    def beside_chance(self, chance: str) -> str:
        """Both figures beside what chance gives, as a sentence."""
        by_chance = self.chance if self.chance_with_defect is None else self.chance_with_defect
        wrong, right = self._verdict(self.with_defect, by_chance), self._verdict(self.without, self.chance)
        if self.chance_with_defect is not None:
            levels = f"{chance[:1].upper()}{chance[1:]} gives {_mean(by_chance):.3f} with it and {self.chance_mean:.3f}"
            if wrong == right:
                return f"{levels} without; with and without it, the figure is {right} that."
            return f"{levels} without; with it, the figure is {wrong} that, without it {right} that."
        figure = f"{chance} ({self.chance_mean:.3f})"
        if wrong == right:
            return f"With and without it, the figure is {right} {figure}."
        return f"With it, the figure is {wrong} {figure}, without it {right} that."

    def _verdict(self, values: np.ndarray, chance: np.ndarray) -> str:
        gain = _known(chance - values if self.lower else values - chance)
        if not _beyond_chance(gain):
            return "no different from"
        return "better than" if gain.mean() > 0 else "worse than"


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _mean(values: np.ndarray) -> float:
    known = _known(values)
    return float(known.mean()) if len(known) else math.nan


def _beyond_chance(differences: np.ndarray) -> bool:
    """Whether the mean of (N,) paired differences is more than 1.96 standard errors from 0."""
    if len(differences) < 2:
        return False
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    return bool(abs(differences.mean()) > STANDARD_ERRORS * error)
