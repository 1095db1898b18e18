"""Relevance maps and explanations, as arrays. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kmex_core.relevance.catalogue import METHODS

CONSERVATION_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class RelevanceMaps:
    """M relevance maps, each with the check that it conserves what it started from.

    Attributes:
        values: (M, H, W) float32, relevance of each pixel, summed over the channels.
        conservation: (M,) float64, sum of the map divided by what it should sum to (1 is exact); NaN where that is 0 or
            the method promises no sum.
        method: how they were made, a name of `METHODS`.
    """

    values: np.ndarray
    conservation: np.ndarray
    method: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def conserves(self) -> np.ndarray:
        """(M,) bool: the map sums to what it should, within `CONSERVATION_TOLERANCE`, or its method promises no sum."""
        if not METHODS[self.method].conserves:
            return np.ones(len(self), dtype=bool)
        return np.abs(self.conservation - 1) <= CONSERVATION_TOLERANCE


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an image is classified as it is: prototypes with similarities, and relevance maps for some of them.

    Attributes:
        black_box: (C,) float32, the black box's class probabilities.
        kmex: (C,) float32, the KMEx class probabilities: softmax of the similarities, summed within each class.
        predicted_black_box: the class the black box predicts.
        predicted: the class of the nearest prototype, which is what KMEx predicts; or what a prototypical model
            predicts, when its own prototypes explain.
        distance: (K,) float32, distance of the image's embedding to every prototype (see `Prototypes`).
        similarity: (K,) float32.
        prototypes: (M,) int64, the prototypes that have a map, most similar first.
        maps: their M maps.
        black_box_map: one map, of the black box's score of its predicted class.
        unusual: True when the image lies farther from every prototype than 99 % of the training images do.
        distance_rank: share (0…1) of the training images that lie nearer to their nearest prototype.
    """

    black_box: np.ndarray
    kmex: np.ndarray
    predicted_black_box: int
    predicted: int
    distance: np.ndarray
    similarity: np.ndarray
    prototypes: np.ndarray
    maps: RelevanceMaps
    black_box_map: RelevanceMaps
    unusual: bool
    distance_rank: float
