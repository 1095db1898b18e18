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
        limit: the 99% quantile of the fitted images' distance to the nearest other one, see `projection.remoteness`.
        trustworthiness: 0…1, of the fitted images: how far neighbours on the map are neighbours in the embedding.
        placed_trustworthiness: 0…1, the same of test images among themselves, which were placed; None without any.
        seconds: how long it took.
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
