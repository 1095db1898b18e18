"""A figure's chance level: its mean over random draws, and the limits of most of them."""

from __future__ import annotations

from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Band:
    """What chance gives for one figure.

    Attributes:
        mean: over the draws.
        low, high: the limits of the middle 95% of the draws.
    """

    mean: float
    low: float
    high: float

    def verdict(self, value: float, higher_is_better: bool) -> str:
        """ "better", "within" or "worse": a value against the band, whose limits count as within."""
        if self.low <= value <= self.high:
            return "within"
        return "better" if (value > self.high) == higher_is_better else "worse"
