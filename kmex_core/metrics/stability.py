"""Stability: how far a class's prototypes and the images assigned to them change with the seed of k-means."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmex_core.metrics.effective import class_variance

DRAWS = 20  # of random images, for each seed
LEAST = 3  # seeds


@dataclass(frozen=True, eq=False)
class Stability:
    """How much prototypes agree between seeds of k-means, by class (C,); means over all pairs of seeds.

    Attributes:
        seeds: the seeds.
        distance: ≥ 0, mean distance between matched prototypes of two seeds in standard deviations of the class; lower
            is more stable, 0 is the same prototypes.
        distance_random: the same between the prototypes of a seed and as many random training images of the class, its
            chance level.
        rand_index: adjusted Rand index of the two assignments of the class's training images to their nearest
            prototype of the class; at most 1 (the same groups), higher is more stable; 0 is chance. NaN for a class
            that has one prototype for every seed, where there is nothing to assign.
    """

    seeds: tuple[int, ...]
    distance: np.ndarray
    distance_random: np.ndarray
    rand_index: np.ndarray

    @property
    def mean_rand_index(self) -> float | None:
        """Over the classes where it is defined; None if it is nowhere."""
        defined = self.rand_index[~np.isnan(self.rand_index)]
        return float(defined.mean()) if len(defined) else None


def stability(
    prototypes: Sequence[tuple[np.ndarray, np.ndarray]],
    seeds: Sequence[int],
    embedding: np.ndarray,
    labels: np.ndarray,
    classes: int,
) -> Stability:
    """Compare the prototypes that several seeds of k-means find for the same images.

    Args:
        prototypes: for each seed, centers (K, D) and their classes (K,); every class has at least one.
        seeds: that found them; of the random images as well.
        embedding: (N, D) of the training images, in the space of the prototypes.
        labels: (N,).
        classes: C.

    Raises:
        ValueError: for fewer than `LEAST` seeds, or a class without images or prototypes.
    """
    from scipy.spatial.distance import cdist
    from sklearn.metrics import adjusted_rand_score

    if len(prototypes) < LEAST or len(prototypes) != len(seeds):
        raise ValueError(f"Stability needs the prototypes of at least {LEAST} seeds, got {len(prototypes)}.")
    spread = np.sqrt(class_variance(embedding, labels, classes))
    distance, distance_random, rand_index = (np.empty(classes) for _ in range(3))
    for label in range(classes):
        images = embedding[labels == label].astype(np.float64)
        of_seed = [centers[of == label].astype(np.float64) for centers, of in prototypes]
        if any(len(centers) == 0 for centers in of_seed):
            raise ValueError(f"Class {label} has no prototypes.")
        pairs = list(itertools.combinations(range(len(of_seed)), 2))
        moved = np.mean([matched_distance(of_seed[a], of_seed[b]) for a, b in pairs])
        random = np.random.default_rng([*seeds, label])
        by_chance = np.mean(
            [
                matched_distance(centers, images[random.choice(len(images), len(centers), replace=False)])
                for centers in of_seed
                for _ in range(DRAWS)
            ]
        )
        # a class whose images all coincide has one place for prototypes: they cannot move
        scale = spread[label] if spread[label] > 0 else np.inf
        distance[label], distance_random[label] = moved / scale, by_chance / scale
        # each image's nearest prototype of the class, by every seed
        assigned = [cdist(images, centers).argmin(1) for centers in of_seed]
        single = all(len(centers) == 1 for centers in of_seed)
        rand_index[label] = (
            np.nan if single else np.mean([adjusted_rand_score(assigned[a], assigned[b]) for a, b in pairs])
        )
    return Stability(tuple(seeds), distance, distance_random, rand_index)


def matched_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The mean Euclidean distance between two sets of points, matched one to one so that its sum is smallest.

    Args:
        one, other: (k, D) and (m, D); of the larger set, the points that match worst are left out.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    apart = cdist(one, other)
    return float(apart[linear_sum_assignment(apart)].mean())
