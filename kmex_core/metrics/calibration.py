"""Calibration: whether predictions with 80% confidence are correct in 80% of cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predictions by their confidence, as sums: those of some images and of others add up to those of all.

    Attributes:
        gap: (B,) float64, of the predictions in each of B bins of equal width: how many are correct, less the sum of
            their confidences. A bin holds its upper edge.
        images: how many predictions there are in all.
    """

    gap: np.ndarray
    images: int

    @classmethod
    def of(cls, confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Self:
        """Of predictions.

        Args:
            confidence: (N,) probability of the predicted class, 0…1.
            correct: (N,) bool, whether the prediction is right.
            bins: B.

        Raises:
            ValueError: when the shapes differ, there are no images, or a confidence is not in 0…1.
        """
        if confidence.shape != correct.shape or confidence.ndim != 1 or len(confidence) == 0:
            raise ValueError(f"Expected two vectors of one length above 0, got {confidence.shape} and {correct.shape}.")
        if not (confidence.min() >= 0 and confidence.max() <= 1 + 1e-6):
            raise ValueError(f"Expected confidences 0 to 1, got {confidence.min()} to {confidence.max()}.")
        # bin b holds (b / bins, (b + 1) / bins]; Σ correct − Σ confidence = |B_b| (accuracy − confidence)
        place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        gap = np.bincount(place, correct.astype(np.float64) - confidence, minlength=bins)
        return cls(gap, len(confidence))

    @property
    def error(self) -> float:
        """See `expected_calibration_error`."""
        return float(np.abs(self.gap).sum() / self.images)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """ECE: the gap between confidence and accuracy, averaged over the images, 0…1, lower is better.

    ECE = Σ_b |B_b| / N · |accuracy(B_b) − confidence(B_b)| over `bins` bins of equal width (Guo, Pleiss, Sun,
    Weinberger: On Calibration of Modern Neural Networks, ICML 2017, Eq. 3).

    Args:
        confidence, correct, bins: see `Reliability.of`.

    Raises:
        ValueError: see `Reliability.of`.
    """
    return Reliability.of(confidence, correct, bins).error
