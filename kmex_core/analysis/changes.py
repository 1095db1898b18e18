"""What changes from one model to another on the same images: their nearest prototypes and their predicted classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NONE = -1  # for a prototype that no other one is matched with


@dataclass(frozen=True, eq=False)
class PrototypeChanges:
    """The prototypes of two models, A and B, matched by the N images that they share.

    Attributes:
        match: (Ka,) int64, the prototype of B that each prototype of A is matched with, or `NONE`.
        changed: (N,) bool, images whose nearest prototype of B is not the match of their nearest one of A.
        rand_index: adjusted Rand index of the two groupings of each class's images by nearest prototype, mean over the
            classes weighted by their images; at most 1 (the same groups), 0 is chance. NaN where no class can be
            divided.
    """

    match: np.ndarray
    changed: np.ndarray
    rand_index: float


def prototype_changes(
    nearest: tuple[np.ndarray, np.ndarray], classes: tuple[np.ndarray, np.ndarray], labels: np.ndarray
) -> PrototypeChanges:
    """Match the prototypes of two models, class by class, so that they share as many images as possible.

    Args:
        nearest: (N,) the nearest prototype of each image, of A and of B.
        classes: (Ka,) and (Kb,) the prototypes' classes.
        labels: (N,) the images' classes.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score

    match = np.full(len(classes[0]), NONE, dtype=np.int64)
    score, weight = 0.0, 0
    for label in np.unique(labels).tolist():
        of_a, of_b = (np.flatnonzero(of == label) for of in classes)
        shared = shared_images(nearest, (of_a, of_b), labels == label)[:-1, :-1]
        # the assignment that shares most images; two prototypes that share none are no match
        rows, columns = linear_sum_assignment(-shared)
        there = shared[rows, columns] > 0
        match[of_a[rows[there]]] = of_b[columns[there]]
        if max(len(of_a), len(of_b)) > 1:
            images = labels == label
            score += adjusted_rand_score(nearest[0][images], nearest[1][images]) * int(images.sum())
            weight += int(images.sum())
    return PrototypeChanges(match, match[nearest[0]] != nearest[1], score / weight if weight else float("nan"))


def shared_images(
    nearest: tuple[np.ndarray, np.ndarray], prototypes: tuple[np.ndarray, np.ndarray], rows: np.ndarray
) -> np.ndarray:
    """(a + 1, b + 1) how many images have each pair of nearest prototypes; the last row and column are all others'.

    Args:
        nearest: (N,) the nearest prototype of each image, of A and of B.
        prototypes: (a,) and (b,) ascending numbers of prototypes of A and of B.
        rows: (N,) bool, the images that count.
    """
    places = [_places(of_model[rows], wanted) for of_model, wanted in zip(nearest, prototypes, strict=True)]
    shape = len(prototypes[0]) + 1, len(prototypes[1]) + 1
    return np.bincount(places[0] * shape[1] + places[1], minlength=shape[0] * shape[1]).reshape(shape)


def _places(numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each number is among those `wanted` (ascending); their count for others."""
    if len(wanted) == 0:
        return np.zeros(len(numbers), dtype=np.int64)
    places = np.searchsorted(wanted, numbers).clip(max=len(wanted) - 1)
    return np.where(wanted[places] == numbers, places, len(wanted))


def class_changes(labels: np.ndarray, before: np.ndarray, after: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Images with another predicted class, worst first: those that only A predicts correctly, then those that neither
    does, then those that only B does; within each, the most confident predictions of B first.

    Args:
        labels, before, after: (M,) true classes, and those that A and B predict.
        confidence: (M,) of B's predictions, 0…1.
    """
    rows = np.flatnonzero(before != after)
    kind = np.where(before[rows] == labels[rows], 0, np.where(after[rows] == labels[rows], 2, 1))
    return rows[np.lexsort((rows, -confidence[rows], kind))]
