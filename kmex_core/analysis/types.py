"""What is drawn of an embedding, as arrays. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kmex_core.base.artifact import StoredResult


@dataclass(frozen=True, eq=False)
class Projection(StoredResult):
    """A map of an embedding in two dimensions, and what is needed to place further points on it.

    Attributes:
        train: (N, 2) float32, where each training image lies.
        test: (M, 2) float32, where each test image lies.
        sample: (S,) int64, the training images that UMAP was fitted on, ascending; all others are placed among them.
        mean, axes: (D,) and (P, D) float32, the principal components that distances are measured in.
        anchors: (S, P) float32, the sample in principal components.
        labels, black_box: (N + M,) int32, true and predicted class of the training images, then of the test images.
        far: (N + M,) bool, images farther from every (other) fitted image than `limit`: their place says little.
        limit: the 99% quantile of the fitted images' distance to the nearest other one, see `projection.located`.
        trustworthiness: 0…1, how far neighbours on the map are neighbours in the embedding: of 2,000 fitted images,
            whose neighbours are searched among all fitted ones.
        placed_trustworthiness: 0…1, the same of 2,000 test images, which were placed, among the fitted images; None
            without any.
        seconds: how long it took.
        made_by: the library that drew it, with its version.
    """

    train: np.ndarray
    test: np.ndarray
    sample: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    anchors: np.ndarray
    labels: np.ndarray
    black_box: np.ndarray
    far: np.ndarray
    limit: float
    trustworthiness: float
    placed_trustworthiness: float | None
    seconds: float
    made_by: str = "umap-learn"
