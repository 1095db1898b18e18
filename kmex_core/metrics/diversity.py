"""Diversity: how much a model's prototypes differ from each other (paper 4.2.4)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def diversity(
    centers: np.ndarray,
    classes: np.ndarray,
    scope: str = "class",
    arithmetic: str = "exact",
    epsilon: float = 1e-4,
    squared: bool | None = None,
) -> float:
    """D_dvs of prototypes with KMEx's similarity: 0…1, lower is more diverse (paper, Eq. 4).

    With s(p, q) = log((d² + 1) / (d² + ε)). In exact arithmetic, s(p, p) = log(1/ε) dominates the softmax and D_dvs
    hardly varies: `effective.effective_prototypes` is more informative.

    Args:
        centers: (K, D).
        classes: (K,).
        scope: see `similarity_diversity`.
        arithmetic: "exact" (float64), or "reference": as the paper's released code, with the unsquared distance of
            float32 `torch.cdist`, whose matrix product gives 1e-3…1e-2 for a prototype's distance to itself instead of
            0. This explains the published 0.37 to 0.45 for KMEx.
        epsilon: ε of the similarity.
        squared: d² or d in the similarity; when None, d² for exact arithmetic and d for the reference.

    Raises:
        ValueError: see `similarity_diversity`; for an unknown arithmetic.
    """
    if arithmetic not in ("exact", "reference"):
        raise ValueError(f"Expected arithmetic exact or reference, got {arithmetic}.")
    if squared is None:
        squared = arithmetic == "exact"
    among = _exact if arithmetic == "exact" else _reference

    def similarity(rows: np.ndarray) -> np.ndarray:
        distance = among(centers[rows])
        d = distance**2 if squared else distance
        return np.asarray(np.log((d + 1) / (d + epsilon)))

    return _mean_entropy(similarity(rows) for rows in _rows(classes, scope))


def similarity_diversity(similarity: np.ndarray, classes: np.ndarray, scope: str = "class") -> float:
    """D_dvs: 0…1, lower is more diverse (paper, Eq. 4); 1 when all prototypes are as similar as one to itself.

    The mean over prototypes of the entropy of softmax(s(p_k, p_j)) over the prototypes j that it is compared with,
    divided by the logarithm of their number. The only prototype of a class is left out of the mean.

    Args:
        similarity: (K, K) between all prototypes, by the model's similarity (for example, a dot product).
        classes: (K,).
        scope: "class" compares with those of the same class (the paper's text), "all" with all K (its formula).

    Raises:
        ValueError: when there are no two prototypes to compare, or for an unknown scope.
    """
    return _mean_entropy(similarity[rows][:, rows] for rows in _rows(classes, scope))


def _mean_entropy(similarities: Iterable[np.ndarray]) -> float:
    """The mean over prototypes of `similarity_diversity`, from the similarities (k, k) of those that are compared."""
    entropies = []
    for similarity in similarities:
        if len(similarity) < 2:
            continue
        compared = similarity.astype(np.float64)
        # log-softmax of each row, shifted by its maximum against overflow
        log_share = compared - compared.max(1, keepdims=True)
        log_share -= np.log(np.exp(log_share).sum(1, keepdims=True))
        # entropy divided by its maximum, log of the number of prototypes
        entropies.append(-(np.exp(log_share) * log_share).sum(1) / np.log(len(compared)))
    if not entropies:
        raise ValueError("Diversity compares prototypes within a class, but every class has only one.")
    return float(np.concatenate(entropies).mean())


def _rows(classes: np.ndarray, scope: str) -> list[np.ndarray]:
    """The prototypes that are compared with one another: of each class, or all."""
    if scope not in ("class", "all"):
        raise ValueError(f"Expected scope class or all, got {scope}.")
    if scope == "all":
        return [np.arange(len(classes))]
    return [np.flatnonzero(classes == label) for label in np.unique(classes)]


def _exact(centers: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(centers.astype(np.float64), centers.astype(np.float64)))


def _reference(centers: np.ndarray) -> np.ndarray:
    import torch

    points = torch.from_numpy(np.ascontiguousarray(centers, dtype=np.float32))
    return torch.cdist(points, points, compute_mode="use_mm_for_euclid_dist").double().numpy()


def relative_distance(centers: np.ndarray, classes: np.ndarray, variance: np.ndarray) -> float:
    """Mean distance from a prototype to the nearest other one of its class, in standard deviations of the class, ≥ 0.

    Higher is more diverse. The standard deviation is the root mean square distance of the class's images to their mean.
    Classes with one prototype are left out; a class whose images all coincide counts as 0.

    Args:
        centers: (K, D).
        classes: (K,).
        variance: (C,) σ² of each class, see `effective.class_variance`.

    Raises:
        ValueError: when every class has a single prototype.
    """
    from scipy.spatial.distance import cdist

    parts = []
    for label in np.unique(classes):
        of_class, spread = centers[classes == label].astype(np.float64), np.sqrt(variance[label])
        if len(of_class) < 2:
            continue
        # distances between the class's prototypes (k, k), each one's own excluded
        apart = cdist(of_class, of_class)
        np.fill_diagonal(apart, np.inf)
        parts.append(apart.min(1) / spread if spread > 0 else np.zeros(len(of_class)))
    if not parts:
        raise ValueError("Every class has a single prototype: there are no distances to measure.")
    return float(np.concatenate(parts).mean())


def coverage_radius(distance: np.ndarray, share: float = 0.95) -> float:
    """The `share` quantile of the images' distance to their nearest prototype; lower is better.

    Args:
        distance: (N,) of each image to its nearest prototype, in the embedding's unit.
        share: 0…1.

    Raises:
        ValueError: when there are no images.
    """
    if distance.ndim != 1 or len(distance) == 0:
        raise ValueError(f"Expected a vector of distances, got shape {distance.shape}.")
    return float(np.quantile(distance, share))
