"""Relevance maps and explanations, as arrays. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kmex_core.relevance.catalogue import METHODS

CONSERVATION_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class RelevanceMaps:
    """M relevance maps, each with its conservation check.

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
    """The explanation of a prediction: similarities to the prototypes, and relevance maps of some of them.

    Attributes:
        black_box: (C,) float32, the black box's class probabilities.
        kmex: (C,) float32, the posterior over the classes by the prototypes, see `KMEx.posterior`.
        calibrated: whether its temperature was fitted on held-out images.
        predicted_black_box: the class the black box predicts.
        predicted: KMEx's prediction, the class of the nearest prototype; with built-in prototypes, the model's own.
        distance: (K,) float32, distance of the image's embedding to every prototype (see `Prototypes`).
        similarity: (K,) float32.
        prototypes: (M,) int64, the prototypes with a relevance map, most similar first.
        maps: their M relevance maps.
        black_box_map: one relevance map, of the black box's score of its predicted class.
        unusual: True if the image is farther from its nearest prototype than 99 % of the training images.
        distance_rank: share (0…1) of the training images nearer to their nearest prototype.
    """

    black_box: np.ndarray
    kmex: np.ndarray
    predicted_black_box: int
    predicted: int
    calibrated: bool
    distance: np.ndarray
    similarity: np.ndarray
    prototypes: np.ndarray
    maps: RelevanceMaps
    black_box_map: RelevanceMaps
    unusual: bool
    distance_rank: float

    @property
    def likeliest(self) -> int:
        """The class with the highest posterior; it may differ from the prediction, the nearest prototype's class."""
        return int(self.kmex.argmax())
