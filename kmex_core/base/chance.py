"""What guessing reaches, and whether an accuracy is more."""

from __future__ import annotations

import math

import numpy as np

Z = 3.0  # standard deviations above chance that are more than noise


def chance_accuracy(labels: np.ndarray, classes: int) -> float:
    """The accuracy of guessing, 0…1: of one class in `classes`, or of always naming the most frequent one.

    Args:
        labels: (N,) integers 0…classes−1, N ≥ 1.
        classes: 1 or more.

    Raises:
        ValueError: when there are no images.
    """
    if len(labels) == 0:
        raise ValueError("Expected at least one image.")
    return max(1 / classes, float(np.bincount(labels, minlength=classes).max()) / len(labels))


def above_chance(accuracy: float, chance: float, images: int) -> bool:
    """Whether an accuracy is more than `Z` standard deviations above what guessing reaches on that many images."""
    return accuracy > min(chance + Z * math.sqrt(chance * (1 - chance) / max(1, images)), (1 + chance) / 2)
