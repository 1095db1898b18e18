"""Faithfulness of predictions: how often a model is right, and how often two models agree."""

from __future__ import annotations

import numpy as np


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose predicted class is the true one, 0…1, higher is better (paper, Table 3).

    Args:
        predicted, labels: (N,) integers, N ≥ 1.

    Raises:
        ValueError: when the shapes differ or there are no images.
    """
    if predicted.shape != labels.shape or predicted.ndim != 1 or len(labels) == 0:
        raise ValueError(f"Expected two vectors of one length above 0, got {predicted.shape} and {labels.shape}.")
    return float(np.mean(predicted == labels))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Share of images for which two models predict the same class, 0…1, higher is better.

    Args:
        one, other: (N,) integers, N ≥ 1.

    Raises:
        ValueError: when the shapes differ or there are no images.
    """
    return accuracy(one, other)
