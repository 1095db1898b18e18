"""Coverage of binary attributes by prototypes, and accuracy by attribute (paper 4.3, Figure 5).

Shapes: N images, A attributes, K prototypes. A prototype has the attributes of its exemplar (nearest training image).
`known` marks the known values, None if all are; unknown values are False in `has` and count neither way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kmex_core.metrics.accuracy import wilson_interval

NEVER = 0


def _checked(has: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    if has.ndim != 2 or has.dtype != bool:
        raise ValueError(f"Expected a matrix of bool, images × attributes, got {has.dtype} of shape {has.shape}.")
    if known is None:
        return has, np.ones_like(has)
    if known.shape != has.shape or known.dtype != bool:
        raise ValueError(f"Expected known values as bool of shape {has.shape}, got {known.dtype} {known.shape}.")
    return has & known, known


def frequency(has: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(A,) share 0…1 of the images with each attribute, among those for which it is known; NaN if it never is.

    Args:
        has: (N, A) bool.
        known: (N, A) bool or None.

    Raises:
        ValueError: for other shapes or types.
    """
    has, known = _checked(has, known)
    count = known.sum(0)
    return np.where(count > 0, has.sum(0) / np.maximum(count, 1), np.nan)


def captured(has: np.ndarray) -> np.ndarray:
    """(A,) bool, the attributes of at least one prototype's exemplar (paper, Figure 5.b).

    Args:
        has: (K, A) bool, of the exemplars.
    """
    return np.asarray(_checked(has)[0].any(0))


def first_captured(captured_by: Mapping[int, np.ndarray]) -> np.ndarray:
    """(A,) int64, the smallest number of prototypes per class that captures each attribute; `NEVER` (0) if none does.

    Args:
        captured_by: by number of prototypes per class, (A,) bool.
    """
    ks = np.array(sorted(captured_by))
    caught = np.stack([captured_by[int(k)] for k in ks])
    return np.where(caught.any(0), ks[caught.argmax(0)], NEVER)


def lift(among_prototypes: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """Frequency of an attribute among prototypes over that in the training split; 1 for equal ones, NaN for 0 / 0.

    Args:
        among_prototypes, in_training: shares 0…1 of one shape.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(among_prototypes) / np.asarray(in_training)


def correlation(has: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(A, A) Pearson (phi) correlations of attributes over the images for which both are known.

    An attribute that is constant over them has correlation 0 with others, and 1 with itself.

    Args:
        has: (N, A) bool.
        known: (N, A) bool or None.

    Raises:
        ValueError: for other shapes or types.
    """
    has, known = _checked(has, known)
    x, m = has.astype(np.float64), known.astype(np.float64)
    count = np.maximum(m.T @ m, 1)
    # over the images for which both attributes of a pair are known, all (A, A); x² = x since x is 0 or 1
    mean = (x.T @ m) / count  # of the row's attribute
    product_mean = (x.T @ x) / count
    covariance = product_mean - mean * mean.T
    variance = np.maximum(mean - mean**2, 0)
    scale = np.sqrt(variance * variance.T)
    # a constant attribute has no correlation: 0 instead of 0 / 0
    correlations = np.where(scale > 1e-12, covariance / np.maximum(scale, 1e-12), 0.0)
    np.fill_diagonal(correlations, 1.0)
    return np.clip(correlations, -1, 1)


def correlation_error(among_prototypes: np.ndarray, in_training: np.ndarray) -> float:
    """Mean absolute difference of two correlation matrices over all A² entries, 0…2, lower is better (Figure 5.c).

    Args:
        among_prototypes, in_training: (A, A).

    Raises:
        ValueError: when the shapes differ or are empty.
    """
    if among_prototypes.shape != in_training.shape or among_prototypes.size == 0:
        raise ValueError(f"Expected two matrices of one shape, got {among_prototypes.shape} and {in_training.shape}.")
    return float(np.abs(among_prototypes - in_training).mean())


def correlation_ratio(
    has: np.ndarray, activated: np.ndarray, prototypes: int, known: np.ndarray | None = None
) -> np.ndarray:
    """(A,) correlation ratio η²: the share of each attribute's variance explained by the activated prototype.

    Adjusted for chance (Kelley's ε²): 1 if every prototype is activated only by images with the attribute or only by
    images without it; about 0 (sometimes below) if the prototypes are unrelated to it. NaN for a constant attribute, or
    if there are no more images than prototypes.

    Args:
        has: (N, A) bool.
        activated: (N,) the prototype that each image activates, 0…K−1.
        prototypes: K.
        known: (N, A) bool or None.

    Raises:
        ValueError: for other shapes or types.
    """
    has, known = _checked(has, known)
    if activated.shape != has.shape[:1]:
        raise ValueError(f"Expected {len(has)} activated prototypes, got shape {activated.shape}.")
    # known images, and those with the attribute, per prototype and attribute: (K, A) each
    count, positive = (
        np.stack([np.bincount(activated, column, prototypes) for column in values.T], 1) for values in (known, has)
    )
    # variance within the prototypes' groups over the whole variance
    total, used = count.sum(0), (count > 0).sum(0)
    mean = positive.sum(0) / np.maximum(total, 1)
    within = (positive - positive**2 / np.maximum(count, 1)).sum(0)  # Σ x² − n x̄², with x² = x
    whole = total * mean * (1 - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        # ε² = 1 − (SS_within / (N − K)) / (SS_total / (N − 1)), K counting the prototypes that are activated
        explained = 1 - within / whole * (total - 1) / (total - used)
    return np.where((whole > 1e-9) & (total > used), explained, np.nan)


@dataclass(frozen=True, eq=False)
class Subgroups:
    """All combinations of two attributes, G = A (A − 1) / 2.

    Attributes:
        pairs: (G, 2) int64, the attributes.
        images: (G,) int64, training images that have both.
        expected: (G,) float64, the expected number of prototypes with both if they were random training images.
        prototypes: (G,) int64, the number of prototypes with both.
    """

    pairs: np.ndarray
    images: np.ndarray
    expected: np.ndarray
    prototypes: np.ndarray

    @property
    def surplus(self) -> np.ndarray:
        """(G,) prototypes beyond the expected number; negative for under-represented subgroups."""
        return self.prototypes - self.expected


def subgroups(has: np.ndarray, among: np.ndarray, known: np.ndarray | None = None) -> Subgroups:
    """The distribution of training images and prototypes over combinations of two attributes.

    Args:
        has: (N, A) bool, of the training images.
        among: (K, A) bool, of the exemplars.
        known: (N, A) bool or None; shares are over the images for which both are known.

    Raises:
        ValueError: for other shapes or types.
    """
    has, known = _checked(has, known)
    among, _ = _checked(among)
    if among.shape[1] != has.shape[1]:
        raise ValueError(f"Expected {has.shape[1]} attributes of the prototypes, got {among.shape[1]}.")
    first, second = np.triu_indices(has.shape[1], 1)
    counted = _both(has)[first, second]
    of = np.maximum(_both(known)[first, second], 1)
    return Subgroups(np.stack([first, second], 1), counted, counted / of * len(among), _both(among)[first, second])


def _both(has: np.ndarray) -> np.ndarray:
    """(A, A) int64, the number of rows with both attributes of each pair."""
    x = has.astype(np.float64)  # matrix products of floats are fast, and exact below 2⁵³
    return np.rint(x.T @ x).astype(np.int64)


@dataclass(frozen=True, eq=False)
class GroupAccuracy:
    """Accuracy per attribute and per pair of attributes.

    Attributes:
        groups: (G, 2) int64, the attributes; a single attribute appears twice. Only groups with images.
        images: (G,) int64.
        right: (G,) int64, correct predictions among them.
        low, high: (G,) float64, 95 % Wilson interval of the accuracy.
    """

    groups: np.ndarray
    images: np.ndarray
    right: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """(G,) share 0…1 of correct predictions."""
        return self.right / self.images

    @property
    def order(self) -> np.ndarray:
        """(G,) the groups, worst first: by the upper bound of their accuracy, so small groups prove little."""
        return np.lexsort((-self.images, self.accuracy, self.high))


def group_accuracy(right: np.ndarray, has: np.ndarray, least: int = 1) -> GroupAccuracy:
    """Accuracy per attribute and per pair of attributes.

    Args:
        right: (N,) bool, whether each prediction is correct.
        has: (N, A) bool.
        least: groups with fewer images are left out.

    Raises:
        ValueError: for other shapes or types.
    """
    has, _ = _checked(has)
    if right.shape != has.shape[:1] or right.dtype != bool:
        raise ValueError(f"Expected {len(has)} bool, got {right.dtype} of shape {right.shape}.")
    first, second = np.triu_indices(has.shape[1])
    images = _both(has)[first, second]
    # pairs of an attribute with itself are the single attributes
    correct = _both(has & right[:, None])[first, second]
    large_enough = images >= max(1, least)
    images, correct = images[large_enough], correct[large_enough]
    low, high = wilson_interval(correct / np.maximum(images, 1), images)
    return GroupAccuracy(np.stack([first, second], 1)[large_enough], images, correct, np.asarray(low), np.asarray(high))
