"""The chance level of attribute coverage: random training images in place of the prototypes' exemplars.

Shapes: N images, A attributes, C classes, R draws, G = A (A − 1) / 2 pairs of attributes. A draw takes as many
different training images of each class as it has prototypes, so a band tells what a set of that size covers by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kmex_core.metrics.attributes import both, checked_attributes, correlations
from kmex_core.metrics.band import CONFIDENCE, Band

DRAWS = 300
SEED = 0
_VALUES_AT_ONCE = 2**18  # of a part of the draws, so that memory does not grow with the number of prototypes


def chance_band(draws: np.ndarray) -> Band:
    """The mean and the middle 95% of (R,) draws."""
    tail = (1 - CONFIDENCE) / 2
    # limits that a draw has had: of whole numbers they are whole
    low = np.quantile(draws, tail, method="lower")
    high = np.quantile(draws, 1 - tail, method="higher")
    return Band(float(draws.mean()), float(low), float(high))


@dataclass(frozen=True, eq=False)
class AttributeChance:
    """What R draws of random training images cover, as many of each class as it has prototypes.

    Attributes:
        captured_by: (R, A) bool, the attributes of at least one image of the draw.
        error: (R,) float64, see `correlation_error`.
        expected: (A,) float64, the expected number of images of a draw with each attribute (exact, not from the draws).
        expected_pairs: (G,) float64, likewise with both attributes of each pair.
        deviation: (R,) float64, the largest difference over the attributes between a draw's number and the expected.
        deviation_pairs: (R,) float64, likewise over the pairs.
        deviation_correlation: (R,) float64, the largest absolute difference over the pairs between the correlation in
            the draw and that among all training images.
    """

    captured_by: np.ndarray
    error: np.ndarray
    expected: np.ndarray
    expected_pairs: np.ndarray
    deviation: np.ndarray
    deviation_pairs: np.ndarray
    deviation_correlation: np.ndarray

    @property
    def captured(self) -> np.ndarray:
        """(R,) int64, how many attributes each draw captures."""
        return np.asarray(self.captured_by.sum(1))

    @property
    def capture_rate(self) -> np.ndarray:
        """(A,) share 0…1 of the draws that capture each attribute."""
        return np.asarray(self.captured_by.mean(0))


def simultaneous_limit(deviations: np.ndarray) -> float:
    """The half width of a simultaneous 95% band: in 95% of (R,) draws not even the largest deviation is beyond it."""
    return float(np.quantile(deviations, CONFIDENCE))


def attribute_chance(
    has: np.ndarray,
    labels: np.ndarray,
    per_class: np.ndarray,
    known: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
) -> AttributeChance:
    """What random training images cover in place of the prototypes' exemplars.

    Args:
        has: (N, A) bool, of the training images.
        labels: (N,) their classes, 0…C−1.
        per_class: (C,) the number of prototypes of each class; a class with fewer images gives all of them.
        known: (N, A) bool or None, see `metrics.attributes`.
        draws: R.
        seed: of the draws.

    Raises:
        ValueError: for other shapes or types, or when no image would be drawn.
    """
    has, known = checked_attributes(has, known)
    if labels.shape != has.shape[:1]:
        raise ValueError(f"Expected {len(has)} labels, got shape {labels.shape}.")
    size = np.bincount(labels, minlength=len(per_class))
    taken = np.minimum(per_class, size)
    if not taken.any():
        raise ValueError("Expected at least one image to draw.")
    # expected numbers of a draw: each class's share with the attribute (both of the pair) times its images in a draw
    weight = (taken / np.maximum(size, 1))[labels]
    expected = (has * weight[:, None]).T @ has.astype(np.float64)
    by_class = np.argsort(labels, kind="stable")
    drawn = (by_class[places] for places in drawn_places(size, taken, has.shape[1], draws, seed))
    return chance_of_draws(((has[images], known[images]) for images in drawn), expected, correlations(has, known))


def chance_of_draws(
    draws: Iterable[tuple[np.ndarray, np.ndarray]], expected: np.ndarray, whole: np.ndarray
) -> AttributeChance:
    """`attribute_chance` from what the drawn images have.

    Args:
        draws: (r, K, A) bool, what the images of some draws have, and what of it is known.
        expected: (A, A) float64, the expected number of images of a draw with both attributes of each pair.
        whole: (A, A) the correlations among all training images.
    """
    first, second = np.triu_indices(len(whole), 1)
    captured_by, error, deviation, deviation_pairs, deviation_correlation = [], [], [], [], []
    for x, m in draws:
        # (r, A, A) numbers of images with both attributes, on the diagonal with one
        counts = both(x)
        off = np.abs(counts - expected)
        difference = np.abs(correlations(x, m, counts) - whole)
        captured_by.append(x.any(1))
        error.append(difference.mean((1, 2)))
        deviation.append(np.diagonal(off, axis1=1, axis2=2).max(1))
        deviation_pairs.append(off[:, first, second].max(1, initial=0.0))
        deviation_correlation.append(difference.max((1, 2)))
    return AttributeChance(
        np.concatenate(captured_by),
        np.concatenate(error),
        np.diagonal(expected).copy(),
        expected[first, second],
        np.concatenate(deviation),
        np.concatenate(deviation_pairs),
        np.concatenate(deviation_correlation),
    )


def drawn_places(
    size: np.ndarray, taken: np.ndarray, attributes: int, draws: int = DRAWS, seed: int = SEED
) -> Iterator[np.ndarray]:
    """(r, K) places of different images per draw, some draws at a time, when the images are sorted by class.

    Args:
        size, taken: (C,) images of each class, and how many of them each draw has.
        attributes: A, which bounds the draws at a time.
        draws, seed: see `attribute_chance`.
    """
    random, start = np.random.default_rng(seed), np.cumsum(size) - size
    at_once = max(1, _VALUES_AT_ONCE // max(1, int(taken.sum()) * attributes, attributes**2))
    for begin in range(0, draws, at_once):
        count = min(at_once, draws - begin)
        parts = []
        # classes from which equally many are taken, together
        for k in np.unique(taken[taken > 0]).tolist():
            classes = np.flatnonzero(taken == k)
            places = start[classes][:, None] + _distinct(size[classes], k, count, random)
            parts.append(places.reshape(count, -1))
        yield np.concatenate(parts, 1)


def _distinct(size: np.ndarray, k: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws, classes, k) different numbers below each of `size`, every set equally likely (Floyd's algorithm)."""
    chosen = np.full((draws, len(size), k), -1, dtype=np.int64)
    for step in range(k):
        last = size - k + step
        place = random.integers(0, last + 1, (draws, len(size)))
        # a number that is there already gives way to the largest so far, which cannot be there
        again = (chosen[..., :step] == place[..., None]).any(-1)
        chosen[..., step] = np.where(again, last, place)
    return chosen
