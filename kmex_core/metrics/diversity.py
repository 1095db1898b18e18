"""Diversity: how much the prototypes of a model differ from one another (paper 4.2.4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def diversity(
    centers: np.ndarray, classes: np.ndarray, scope: str = "class", arithmetic: str = "exact", epsilon: float = 1e-4
) -> float:
    """D_dvs: 0…1, higher is better (paper, Eq. 4).

    The mean over prototypes of the entropy of softmax(s(p_k, p_j)) over the prototypes j that it is compared with,
    divided by the logarithm of their number, with s(p, q) = log((d² + 1) / (d² + ε)). In exact arithmetic
    s(p, p) = log(1/ε) dominates the softmax, so that it hardly moves: `effective_prototypes` says more.

    Args:
        centers: (K, D).
        classes: (K,).
        scope: "class" compares with those of the same class (the paper's text), "all" with all K (its formula).
        arithmetic: "exact" (float64), or "reference": as the paper's released code, with the unsquared distance of
            float32 `torch.cdist`, whose matrix product leaves 1e-3…1e-2 where a prototype's distance to itself is 0.
            The published 0.37 to 0.45 for KMEx come from there.
        epsilon: ε of the similarity.

    Raises:
        ValueError: when a prototype has none to be compared with, or for an unknown scope or arithmetic.
    """
    if scope not in ("class", "all") or arithmetic not in ("exact", "reference"):
        raise ValueError(f"Expected scope class or all, arithmetic exact or reference, got {scope} and {arithmetic}.")
    entropies = []
    for own in _by_class(centers, classes) if scope == "class" else [centers]:
        if len(own) < 2:
            raise ValueError("Diversity compares prototypes, but there is only one in a class.")
        distance = _squared(own) if arithmetic == "exact" else _reference(own)
        similarity = np.log((distance + 1) / (distance + epsilon))
        share = np.exp(similarity - similarity.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        entropies.append(-(share * np.log(share)).sum(1) / np.log(len(own)))
    return float(np.concatenate(entropies).mean())


def _by_class(centers: np.ndarray, classes: np.ndarray) -> Iterator[np.ndarray]:
    for label in np.unique(classes):
        yield centers[classes == label]


def _squared(own: np.ndarray) -> np.ndarray:
    exact = own.astype(np.float64)
    return np.asarray(((exact[:, None] - exact) ** 2).sum(-1))


def _reference(own: np.ndarray) -> np.ndarray:
    import torch

    points = torch.from_numpy(np.ascontiguousarray(own, dtype=np.float32))
    return torch.cdist(points, points, compute_mode="use_mm_for_euclid_dist").double().numpy()


def effective_prototypes(centers: np.ndarray, classes: np.ndarray) -> float:
    """The effective number of prototypes per class: 1…k, higher is better.

    The Vendi score (Friedman & Dieng 2023) of each class's prototypes, exp(−Σ λ log λ) over the eigenvalues λ of their
    cosine similarities divided by their number, averaged over the classes. Equal prototypes count as one, orthogonal
    ones as many as they are.

    Args:
        centers: (K, D); one at the origin is like no other.
        classes: (K,).
    """
    scores = []
    for own in _by_class(centers.astype(np.float64), classes):
        unit = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
        kernel = unit @ unit.T
        np.fill_diagonal(kernel, 1)
        values = np.linalg.eigvalsh(kernel / len(own)).clip(1e-15)
        scores.append(np.exp(-(values * np.log(values)).sum()))
    return float(np.mean(scores))
