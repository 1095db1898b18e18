"""Calibration: whether predictions with 80% confidence are correct in 80% of cases."""

from __future__ import annotations

import numpy as np

BINS = 15


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """ECE: the gap between confidence and accuracy, averaged over the images, 0…1, lower is better.

    ECE = Σ_b |B_b| / N · |accuracy(B_b) − confidence(B_b)| over `bins` bins of equal width (Guo, Pleiss, Sun,
    Weinberger: On Calibration of Modern Neural Networks, ICML 2017, Eq. 3). A bin holds its upper edge.

    Args:
        confidence: (N,) probability of the predicted class, 0…1.
        correct: (N,) bool, whether the prediction is right.
        bins: number of bins.

    Raises:
        ValueError: when the shapes differ, there are no images, or a confidence is not in 0…1.
    """
    if confidence.shape != correct.shape or confidence.ndim != 1 or len(confidence) == 0:
        raise ValueError(f"Expected two vectors of one length above 0, got {confidence.shape} and {correct.shape}.")
    if not (confidence.min() >= 0 and confidence.max() <= 1 + 1e-6):
        raise ValueError(f"Expected confidences 0 to 1, got {confidence.min()} to {confidence.max()}.")
    # bin b holds (b / bins, (b + 1) / bins]; per bin, Σ correct − Σ confidence = |B_b| (accuracy − confidence)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(place, correct.astype(np.float64) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))
