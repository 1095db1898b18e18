"""The metric of an embedding: the map between encoder and prototypes. Needs no torch, and works on its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from kmex_core.base.artifact import StoredResult
from kmex_core.base.errors import InputError

AUTO = "auto"
EUCLIDEAN, WHITENED, COSINE = NAMES = ("euclidean", "whitened", "cosine")
OPTIONS = (AUTO, *NAMES)
ROWS = 100_000
SMALL = 1e-12

Points = TypeVar("Points", bound=Any)  # np.ndarray or torch.Tensor, (N, D)


@dataclass(frozen=True, eq=False)
class EmbeddingMetric(StoredResult):
    """z̃, the space in which prototypes are found, and distances to them are Euclidean. D dimensions.

    Attributes:
        name: "euclidean" (z̃ = z, as published), "whitened" (z̃ = z M with M = Σ^(−1/2), Σ the pooled within-class
            covariance: Euclidean distances in z̃ are the Mahalanobis distances of linear discriminant analysis), or
            "cosine" (z̃ = z / ‖z‖).
        matrix: (D, D) float32, the symmetric M of "whitened"; (0, 0) for others.
        shrinkage: of Σ towards a multiple of the identity (Ledoit & Wolf 2004), 0…1; 0 for others.
        length: mean ‖z‖ of the training images, which "cosine" needs to go back.
    """

    name: str = EUCLIDEAN
    matrix: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    shrinkage: float = 0.0
    length: float = 1.0

    def __call__(self, z: Points) -> Points:
        """(N, D) embeddings to (N, D) in the prototypes' space."""
        return mapped(z, self.name, self.matrix)

    def back(self, points: np.ndarray) -> np.ndarray:
        """(K, D) points of the prototypes' space to embeddings (K, D), the inverse of a call."""
        if self.name == WHITENED:
            return np.linalg.solve(self.matrix.T.astype(np.float64), points.T.astype(np.float64)).T.astype(np.float32)
        return points * np.float32(self.length) if self.name == COSINE else points


def mapped(z: Points, name: str, matrix: Any) -> Points:
    """(N, D) embeddings in the prototypes' space; see `EmbeddingMetric`."""
    if name == WHITENED:
        return z @ matrix
    if name == COSINE:
        return z / ((z * z).sum(-1, keepdims=True) ** 0.5).clip(SMALL)
    return z


def pulled_back(relevance: Points, z: Points, name: str, matrix: Any) -> Points:
    """Relevance of the dimensions of z̃ = z M, to those of z; each row keeps its sum (unless z is 0).

    The relevance of each z̃_j = Σ z_d M_dj is distributed in proportion to |z_d M_dj|: proportions with signs have no
    bound where z̃_j is near 0, which is where the similarity's relevance often starts. The length that "cosine" divides
    by counts as a constant, as in layer normalisation (Ali et al., ICML 2022).

    Args:
        relevance: (N, D) of z̃.
        z: (N, D) the embeddings.
        name, matrix: see `EmbeddingMetric`.
    """
    if name != WHITENED:
        return relevance
    size, weight = abs(z), abs(matrix)
    arriving = size @ weight  # Σ_d |z_d M_dj|
    dead = arriving <= SMALL
    back = size * ((relevance * ~dead / arriving.clip(SMALL)) @ weight.T)
    # a dimension that nothing arrives at (its units never fire) has no proportions of its own: those of z
    rest = (relevance * dead).sum(-1, keepdims=True)
    return back + rest * size / size.sum(-1, keepdims=True).clip(SMALL)


def fit_metric(name: str, z: np.ndarray, labels: np.ndarray) -> EmbeddingMetric:
    """The metric of a training embedding.

    The covariance is estimated on at most `ROWS` images, evenly spread over the training split.

    Args:
        name: one of `NAMES`.
        z: (N, D) float32, finite.
        labels: (N,) the classes.

    Raises:
        InputError: for an unknown name.
    """
    if name not in NAMES:
        raise InputError(f"There is no metric '{name}'; known: {', '.join(OPTIONS)}.")
    if name == EUCLIDEAN:
        return EmbeddingMetric()
    if name == COSINE:
        return EmbeddingMetric(COSINE, length=float(np.linalg.norm(z, axis=1).mean()))
    from sklearn.covariance import ledoit_wolf

    rows = np.unique(np.linspace(0, len(z) - 1, min(len(z), ROWS)).astype(int))
    values, of_class = z[rows].astype(np.float64), labels[rows]
    # the images less the mean of their class: their covariance is that within the classes
    for label in np.unique(of_class):
        members = of_class == label
        values[members] -= values[members].mean(0)
    if not values.any():
        return EmbeddingMetric(WHITENED, np.eye(z.shape[1], dtype=np.float32), 1.0)  # every class is one point
    covariance, shrinkage = ledoit_wolf(values, assume_centered=True)
    # Σ^(−1/2) by its eigenvectors; shrinkage keeps all eigenvalues above 0, but rounding may not
    spread, axes = np.linalg.eigh(covariance)
    scale = 1 / np.sqrt(np.maximum(spread, SMALL * spread[-1]))
    return EmbeddingMetric(WHITENED, ((axes * scale) @ axes.T).astype(np.float32), float(shrinkage))


def separation(z: np.ndarray, labels: np.ndarray) -> float:
    """Within-to-between-class variance of an embedding, ≥ 0: how far an encoder is from one point per class.

    The mean squared distance of the images to the mean of their class, over that of the images' class means to the
    overall mean. 0 for collapsed classes; infinite if all classes have one mean.

    Args:
        z: (N, D).
        labels: (N,).
    """
    values = z.astype(np.float64)
    within = between = 0.0
    middle = values.mean(0)
    for label in np.unique(labels):
        of_class = values[labels == label]
        within += float(((of_class - of_class.mean(0)) ** 2).sum())
        between += len(of_class) * float(((of_class.mean(0) - middle) ** 2).sum())
    return within / between if between > 0 else float("inf")
