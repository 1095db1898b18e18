"""Embeddings as arrays. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kmex_core.base.artifact import StoredResult

WITHOUT_GRADIENTS = ("onnx",)  # the prefixes of sources whose networks have none
NO_CLASS = -1  # predicted by a network that predicts none of the classes


@dataclass(frozen=True, eq=False)
class Embeddings(StoredResult):
    """The embedding of a split.

    Attributes:
        z: (N, D) float32, the embedding.
        labels: (N,) int64, the true class of each image.
        black_box: (N,) int64, the class that the black box predicts; `NO_CLASS` if it predicts none.
    """

    z: np.ndarray
    labels: np.ndarray
    black_box: np.ndarray

    def __len__(self) -> int:
        return len(self.z)

    def in_space(self, space: Callable[[np.ndarray], np.ndarray]) -> Embeddings:
        """The same images after a map of their embeddings, (N, D) to (N, D)."""
        return replace(self, z=space(self.z))
