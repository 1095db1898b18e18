"""The effective number of prototypes per class: how many the prototypes count as, and what chance and groups give."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from kmex_core.metrics.band import CONFIDENCE, Band

DRAWS = 100


def effective_prototypes(centers: np.ndarray, classes: np.ndarray, variance: np.ndarray) -> float:
    """The effective number of prototypes, 1…k: the mean over the classes that have prototypes; higher is better.

    The Vendi score (Friedman & Dieng, The Vendi Score, TMLR 2023, Eq. 2) of each class's prototypes,
    exp(−Σ λ log λ) over the eigenvalues λ of K / k, with the kernel K = exp(−‖p_i − p_j‖² / (2σ²)), where σ² is the
    variance of the class. It depends on neither the origin nor the scale of the embedding. It reads low: k equally
    distant groups give `equidistant_effective(k)`, not k.

    Args:
        centers: (K, D).
        classes: (K,).
        variance: (C,) σ² of each class, see `class_variance`; a class with σ² = 0 counts as 1.

    Raises:
        ValueError: for a variance that is negative or not finite.
    """
    from scipy.spatial.distance import cdist

    _check(variance)
    scores = []
    for label in np.unique(classes):
        of_class = centers[classes == label].astype(np.float64)
        scores.append(_vendi(cdist(of_class, of_class, "sqeuclidean"), variance[label]))
    return float(np.mean(scores))


def class_variance(embedding: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(C,) float64, σ² of each class: the mean squared distance of its images to their mean, all dimensions summed.

    Args:
        embedding: (N, D) of the training images, in the space of the prototypes.
        labels: (N,).
        classes: C.

    Raises:
        ValueError: when a class has no images.
    """
    variance = np.empty(classes)
    for label in range(classes):
        of_class = embedding[labels == label]
        if len(of_class) == 0:
            raise ValueError(f"Class {label} has no images.")
        variance[label] = of_class.var(0, dtype=np.float64).sum()
    return variance


def random_effective(
    embedding: np.ndarray,
    labels: np.ndarray,
    per_class: np.ndarray,
    variance: np.ndarray,
    seed: int,
    draws: int = DRAWS,
) -> list[Band]:
    """The effective number of random training images in place of the prototypes: its chance level.

    Each draw takes as many different images of each class as the class has prototypes; for several numbers, the images
    of a smaller one are the first of those of larger ones.

    Args:
        embedding: (N, D) of the training images, in the space of the prototypes.
        labels: (N,).
        per_class: (S, C) for S numbers, prototypes per class; classes without any are left out.
        variance: (C,), see `class_variance`.
        seed: of the draws.
        draws: their number.

    Returns:
        A band for each of the S numbers.

    Raises:
        ValueError: when no class has prototypes, or one has more than images; for a variance that is negative or not
            finite.
    """
    _check(variance)
    scores = []
    for label in np.flatnonzero(per_class.max(0) > 0).tolist():
        rows = np.flatnonzero(labels == label)
        points = functools.partial(_taken, embedding, rows)
        found = class_draws(label, len(rows), per_class[:, label], variance[label], seed, points, draws)
        scores.append(found)
    return effective_bands(per_class, scores)


def _taken(embedding: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.asarray(embedding[rows[places]])


def class_draws(
    label: int,
    size: int,
    counts: np.ndarray,
    variance: float,
    seed: int,
    points: Callable[[np.ndarray], np.ndarray],
    draws: int = DRAWS,
) -> np.ndarray:
    """The Vendi scores of random images of one class, see `random_effective`. Only the drawn images are asked for.

    Args:
        label, size: the class, and how many images it has.
        counts: (S,) numbers of prototypes.
        variance: σ² of the class.
        seed, draws: see `random_effective`.
        points: gives images (n, D) by their ascending places among those of the class (n,).

    Returns:
        (S, draws); NaN for numbers that are 0.

    Raises:
        ValueError: when a number is larger than the class.
    """
    most = int(counts.max())
    if most > size:
        raise ValueError(f"Class {label} has {size} images, fewer than its {most} prototypes.")
    # one seed per class: a class's draws do not depend on the other classes
    chosen = _prefixes(size, most, draws, np.random.default_rng([seed, label]))  # (draws, most)
    # squared distances by matrix products, (draws, most, most); centred first to lose no precision to a large mean
    images, place = np.unique(chosen, return_inverse=True)
    values = points(images).astype(np.float64)
    values = (values - values.mean(0))[place.reshape(chosen.shape)]
    product = values @ values.transpose(0, 2, 1)
    square = np.diagonal(product, axis1=1, axis2=2)
    apart = square[:, :, None] + square[:, None] - 2 * product
    scores = np.full((len(counts), draws), np.nan)
    for number, count in enumerate(counts.tolist()):
        if count > 0:
            scores[number] = _vendi(apart[:, :count, :count], variance)
    return scores


def effective_bands(per_class: np.ndarray, scores: Sequence[np.ndarray]) -> list[Band]:
    """The bands of `random_effective` from the scores of its classes.

    Args:
        per_class: (S, C) as there.
        scores: (S, draws) of each class that has prototypes for some of the S numbers, see `class_draws`.

    Raises:
        ValueError: when no class has prototypes.
    """
    if not (per_class > 0).any(1).all():
        raise ValueError("No class has prototypes.")
    bands = []
    for number in range(len(per_class)):
        of_class = [each[number] for each in scores if not np.isnan(each[number, 0])]
        over_draws = np.mean(of_class, 0)  # the mean over the classes, as for prototypes
        low, high = np.quantile(over_draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        bands.append(Band(float(over_draws.mean()), float(low), float(high)))
    return bands


def _prefixes(n: int, most: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws, most) the first places of random permutations of n; no larger `most` changes the first ones.

    By Fisher and Yates, as far as it is needed. Only what was moved is kept, so memory does not grow with n.
    """
    first, other, moved = (np.empty((draws, most), np.int64) for _ in range(3))
    each = np.arange(draws)

    def there(places: np.ndarray, steps: int) -> np.ndarray:
        """(draws,) what is at a place after some steps: what was last moved there, or else its own number."""
        if not steps:
            return places
        same = other[:, :steps] == places[:, None]
        last = steps - 1 - same[:, ::-1].argmax(1)
        return np.where(same.any(1), moved[each, last], places)

    for step in range(most):
        other[:, step] = random.integers(step, n, draws)
        first[:, step], moved[:, step] = there(other[:, step], step), there(np.full(draws, step), step)
    return first


def equidistant_effective(k: int) -> float:
    """The effective number of k equally distant groups that are all that a class consists of.

    The k prototypes are the corners of a regular simplex with edges e. The squared distance of a corner to the mean is
    e² (k − 1) / (2k), since the mean of all k² squared distances, e² (k − 1) / k, is twice it. It is σ² when the groups
    have no width of their own, so e² = 2 σ² k / (k − 1), and the kernel of two different prototypes is
    q = exp(−e² / (2 σ²)) = exp(−k / (k − 1)). K / k then has the eigenvalues (1 + (k − 1) q) / k once and (1 − q) / k
    k − 1 times. For k = 20 the score is 12.0.

    Args:
        k: groups, at least 1; one gives 1.

    Raises:
        ValueError: for k < 1.
    """
    if k < 1:
        raise ValueError(f"Expected at least 1 group, got {k}.")
    if k == 1:
        return 1.0
    q = math.exp(-k / (k - 1))
    common, other = (1 + (k - 1) * q) / k, (1 - q) / k
    return math.exp(-common * math.log(common) - (k - 1) * other * math.log(other))


def _vendi(squared: np.ndarray, variance: float) -> np.ndarray:
    """Vendi scores (…) of squared distances (…, k, k) with the Gaussian kernel of a variance; 1 where it is 0."""
    if variance == 0:
        return np.ones(squared.shape[:-2])
    # the eigenvalues of K / k sum to 1: exp(entropy) is the number of equally weighted prototypes that share nothing
    values = np.linalg.eigvalsh(np.exp(-squared / (2 * variance)) / squared.shape[-1]).clip(1e-15)
    return np.asarray(np.exp(-(values * np.log(values)).sum(-1)))


def _check(variance: np.ndarray) -> None:
    if not (np.isfinite(variance) & (variance >= 0)).all():
        raise ValueError("Expected variances that are finite and not negative.")
