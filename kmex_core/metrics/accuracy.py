"""Accuracy, agreement with the black box (fidelity), and the confusion matrix."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from kmex_core.networks.types import NO_CLASS


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


def agreement(predicted: np.ndarray, black_box: np.ndarray) -> float:
    """Share of images for which two models predict the same class, 0…1, higher is better.

    Args:
        predicted, black_box: (N,) integers, the classes that each predicts, N ≥ 1.

    Raises:
        ValueError: when the shapes differ or there are no images.
    """
    return accuracy(predicted, black_box)


def black_box_accuracy(black_box: np.ndarray, labels: np.ndarray) -> float | None:
    """`accuracy` of what a network predicts; None where it predicts none of the classes.

    Args:
        black_box: (N,) integers, the class that it predicts, or `NO_CLASS` for every image.
        labels: (N,) integers, N ≥ 1.
    """
    return None if bool((black_box == NO_CLASS).all()) else accuracy(black_box, labels)


def black_box_agreement(predicted: np.ndarray, black_box: np.ndarray) -> float | None:
    """`agreement` with a network; None where that predicts none of the classes, see `black_box_accuracy`."""
    return None if bool((black_box == NO_CLASS).all()) else agreement(predicted, black_box)


NORMAL_95 = 1.959964
MANY = 1000


def coin_tail(count: int, most: int) -> float:
    """The probability, 0…1, of `most` heads or fewer in `count` throws of a fair coin; exact."""
    return sum(math.comb(count, i) for i in range(most + 1)) / 2**count


def paired_p_value(one_right: np.ndarray, other_right: np.ndarray) -> float:
    """The p-value of McNemar's test that two models are equally accurate, 0…1.

    Exact on the images that only one of them classifies correctly; the normal approximation from `MANY` such images.

    Args:
        one_right, other_right: (N,) bool, whether each classifies the same images correctly.

    Raises:
        ValueError: when the shapes differ.
    """
    if one_right.shape != other_right.shape:
        raise ValueError(f"Expected the same images, got {one_right.shape} and {other_right.shape}.")
    # only images on which the two differ carry information
    gained, lost = int((one_right & ~other_right).sum()), int((other_right & ~one_right).sum())
    count, fewer = gained + lost, min(gained, lost)
    if count >= MANY:
        # with continuity correction
        z = max(0, abs(gained - lost) - 1) / math.sqrt(count)
        return math.erfc(z / math.sqrt(2))
    return min(1.0, 2 * coin_tail(count, fewer))


def paired_interval(one_right: np.ndarray, other_right: np.ndarray) -> tuple[float, float, float]:
    """The difference of two models' accuracies on the same images, −1…1, with a 95% interval.

    The interval is the adjusted Wald interval for matched pairs: half an image is added to each cell of the 2 × 2 table
    (Agresti & Min, Statistics in Medicine 24, 2005), which keeps its level for few differences, too.

    Args:
        one_right, other_right: (N,) bool, whether each classifies the same images correctly, N ≥ 1.

    Returns:
        The difference, and the lower and upper bound.

    Raises:
        ValueError: when the shapes differ or there are no images.
    """
    if one_right.shape != other_right.shape or not len(one_right):
        raise ValueError(f"Expected the same images, got {one_right.shape} and {other_right.shape}.")
    gained, lost = int((one_right & ~other_right).sum()), int((other_right & ~one_right).sum())
    count = len(one_right) + 2
    middle = (gained - lost) / count
    # variance of a difference of ±1 and 0, with half an image more on either side
    half = NORMAL_95 * math.sqrt((gained + lost + 1) / count - middle**2) / math.sqrt(count)
    return (gained - lost) / len(one_right), max(-1.0, middle - half), min(1.0, middle + half)


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(C, C) int64, the confusion matrix: number of images by true class (row) and predicted class (column).

    Args:
        predicted, labels: (N,) integers 0…C−1.
        classes: C.

    Raises:
        ValueError: when the shapes differ or a class is out of range.
    """
    if predicted.shape != labels.shape or predicted.ndim != 1:
        raise ValueError(f"Expected two vectors of one length, got {predicted.shape} and {labels.shape}.")
    values = np.concatenate([predicted, labels])
    if len(values) and not (values.min() >= 0 and values.max() < classes):
        raise ValueError(f"Expected classes 0 to {classes - 1}, got {values.min()} to {values.max()}.")
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_accuracy(confused: np.ndarray) -> np.ndarray:
    """(C,) share of each class's images that are predicted as it, from `confusion`; NaN for a class without images."""
    counts = confused.sum(1)
    return np.where(counts > 0, np.diag(confused) / np.maximum(counts, 1), np.nan)


Shares = TypeVar("Shares", float, np.ndarray)


def wilson_interval(share: Shares, count: int | np.ndarray, z: float = NORMAL_95) -> tuple[Shares, Shares]:
    """The Wilson score interval of a share of successes (Wilson 1927), 95% by default.

    Args:
        share: 0…1, or a vector of them.
        count: number of trials, at least 1, or a vector of them.
        z: the normal quantile of the level.

    Raises:
        ValueError: when a count is 0 or less, or a share is not in 0…1.
    """
    if not (np.all(np.greater_equal(count, 1)) and np.all(np.greater_equal(share, 0) & np.less_equal(share, 1))):
        raise ValueError(f"Expected a share 0…1 of at least 1, got {share} of {count}.")
    # solves |share − p| = z √(p (1 − p) / n) for p; stays within 0…1 also for small counts
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    return (low, high) if isinstance(share, np.ndarray) else (float(low), float(high))
