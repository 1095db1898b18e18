"""Coverage of binary attributes by prototypes, and accuracy by attribute (paper 4.3, Figure 5).

Shapes: N images, A attributes, K prototypes. A prototype has the attributes of its exemplar (nearest training image).
`known` marks the known values, None if all are; unknown values are False in `has` and count neither way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from kmex_core.metrics.accuracy import wilson_interval

NEVER = 0


def checked_attributes(has: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(N, A) bool what is known to be there, and (N, A) bool what is known.

    Raises:
        ValueError: for other shapes or types.
    """
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
    has, known = checked_attributes(has, known)
    count = known.sum(0)
    return np.where(count > 0, has.sum(0) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True, eq=False)
class AttributeCounts:
    """How many images have each two of A attributes, and each one on the diagonal: sums, which add up.

    Attributes:
        has: (A, A) int64, images with both.
        known: (A, A) int64, images for which both are known.
        has_known: (A, A) int64, images with the row's attribute for which the column's is known.
    """

    has: np.ndarray
    known: np.ndarray
    has_known: np.ndarray

    @classmethod
    def of(cls, has: np.ndarray, known: np.ndarray | None = None) -> Self:
        """Of (N, A) bool.

        Raises:
            ValueError: for other shapes or types.
        """
        has, known = checked_attributes(has, known)
        pairs = both(has).astype(np.int64)
        if known.all():
            each = np.broadcast_to(np.diagonal(pairs)[:, None], pairs.shape)
            return cls(pairs, np.full_like(pairs, len(has)), each)
        return cls(pairs, both(known).astype(np.int64), both(has, known).astype(np.int64))

    def merged(self, other: AttributeCounts) -> AttributeCounts:
        """Those of the images of both."""
        return AttributeCounts(self.has + other.has, self.known + other.known, self.has_known + other.has_known)

    @property
    def images(self) -> np.ndarray:
        """(A,) int64, images with each attribute."""
        return np.diagonal(self.has).copy()

    @property
    def frequency(self) -> np.ndarray:
        """(A,) see `frequency`."""
        count = np.diagonal(self.known)
        return np.where(count > 0, np.diagonal(self.has) / np.maximum(count, 1), np.nan)

    @property
    def correlation(self) -> np.ndarray:
        """(A, A) see `correlation`."""
        of = np.maximum(self.known, 1)
        return _phi(self.has / of, self.has_known / of)


def captured(has: np.ndarray) -> np.ndarray:
    """(A,) bool, the attributes of at least one prototype's exemplar (paper, Figure 5.b).

    Args:
        has: (K, A) bool, of the exemplars.
    """
    return np.asarray(checked_attributes(has)[0].any(0))


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
    return correlations(*checked_attributes(has, known))


def correlations(has: np.ndarray, known: np.ndarray, pairs: np.ndarray | None = None) -> np.ndarray:
    """(…, A, A) see `correlation`, of several sets of images at once.

    Args:
        has: (…, N, A) bool, False where unknown.
        known: (…, N, A) bool.
        pairs: (…, A, A) the number of images with both attributes, where it is counted already.
    """
    product = both(has) if pairs is None else pairs  # all (…, A, A)
    if known.all():
        # all images are known for every pair
        of = np.maximum(has.shape[-2], 1)
        mean = np.broadcast_to(np.diagonal(product, axis1=-2, axis2=-1)[..., :, None] / of, product.shape)
    else:
        of = np.maximum(both(known), 1)
        mean = both(has, known) / of  # of the row's attribute, over the images for which both are known
    return _phi(product / of, mean)


def _phi(joint: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(…, A, A) correlations from the shares of images with both attributes of each pair, and with the row's one."""
    # x² = x since x is 0 or 1
    covariance = joint - mean * mean.swapaxes(-1, -2)
    variance = np.maximum(mean - mean**2, 0)
    scale = np.sqrt(variance * variance.swapaxes(-1, -2))
    # a constant attribute has no correlation: 0 instead of 0 / 0
    found = np.where(scale > 1e-12, covariance / np.maximum(scale, 1e-12), 0.0)
    each = np.arange(found.shape[-1])
    found[..., each, each] = 1.0
    return np.clip(found, -1, 1)


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
    has, known = checked_attributes(has, known)
    if activated.shape != has.shape[:1]:
        raise ValueError(f"Expected {len(has)} activated prototypes, got shape {activated.shape}.")
    count, positive = (by_prototype(values, activated, prototypes) for values in (known, has))
    return ratio_of_counts(count, positive)


def by_prototype(values: np.ndarray, activated: np.ndarray, prototypes: int) -> np.ndarray:
    """(K, A) float64, how many of the images that activate each of K prototypes have (N, A) bool; whole numbers."""
    return np.stack([np.bincount(activated, column, prototypes) for column in values.T], 1)


def ratio_of_counts(count: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """`correlation_ratio` from the images of each prototype for which an attribute is known, and those that have it,
    (K, A) each."""
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
        frequency: (G,) float64, their share 0…1 of the images for which both are known.
        prototypes: (G,) int64, the number of prototypes with both.
    """

    pairs: np.ndarray
    images: np.ndarray
    frequency: np.ndarray
    prototypes: np.ndarray


def subgroups(has: np.ndarray, among: np.ndarray, known: np.ndarray | None = None) -> Subgroups:
    """The distribution of training images and prototypes over combinations of two attributes.

    Args:
        has: (N, A) bool, of the training images.
        among: (K, A) bool, of the exemplars.
        known: (N, A) bool or None; shares are over the images for which both are known.

    Raises:
        ValueError: for other shapes or types.
    """
    has, known = checked_attributes(has, known)
    return subgroups_of_counts(AttributeCounts.of(has, known), among)


def subgroups_of_counts(counts: AttributeCounts, among: np.ndarray) -> Subgroups:
    """`subgroups` from counts of the training images.

    Raises:
        ValueError: for other shapes or types.
    """
    among, _ = checked_attributes(among)
    if among.shape[1] != len(counts.has):
        raise ValueError(f"Expected {len(counts.has)} attributes of the prototypes, got {among.shape[1]}.")
    first, second = np.triu_indices(len(counts.has), 1)
    images, of, prototypes = (pairs[first, second] for pairs in (counts.has, counts.known, both(among)))
    return Subgroups(np.stack([first, second], 1), images, images / np.maximum(of, 1), prototypes.astype(np.int64))


def both(has: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """(…, A, A) float64, the number of rows of (…, N, A) bool with both attributes of each pair, the second one in
    `other`, if given; whole numbers, exact below 2²⁴ rows."""
    x = has.astype(np.float32)  # matrix products of floats are fast
    y = x if other is None else other.astype(np.float32)
    return np.asarray(x.swapaxes(-1, -2) @ y, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class GroupAccuracy:
    """Accuracy per attribute and per pair of attributes.

    Attributes:
        groups: (G, 2) int64, the attributes; a single attribute appears twice. Only groups with images.
        images: (G,) int64.
        right: (G,) int64, correct predictions among them.
        low, high: (G,) float64, 95% Wilson interval of the accuracy.
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
    has, _ = checked_attributes(has)
    if right.shape != has.shape[:1] or right.dtype != bool:
        raise ValueError(f"Expected {len(has)} bool, got {right.dtype} of shape {right.shape}.")
    return accuracy_of_counts(both(has).astype(np.int64), both(has & right[:, None]).astype(np.int64), least)


def accuracy_of_counts(pairs: np.ndarray, right: np.ndarray, least: int = 1) -> GroupAccuracy:
    """`group_accuracy` from the images with both attributes of each pair, and those of them that are predicted
    correctly, (A, A) int64 each."""
    first, second = np.triu_indices(len(pairs))
    # pairs of an attribute with itself are the single attributes
    images, correct = pairs[first, second], right[first, second]
    large_enough = images >= max(1, least)
    images, correct = images[large_enough], correct[large_enough]
    low, high = wilson_interval(correct / np.maximum(images, 1), images)
    return GroupAccuracy(np.stack([first, second], 1)[large_enough], images, correct, np.asarray(low), np.asarray(high))
