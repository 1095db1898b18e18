"""What relevance methods need of a prototypical model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, Self

from torch import Tensor, nn

from kmex_core.prototypes.types import Prototypes


class Prototypical(Protocol):
    """An encoder, a head beside it and prototypes: `KMEx`, or a model with built-in prototypes.

    N images, C classes, K prototypes, D embedding dimensions.
    """

    encoder: nn.Module
    head: nn.Module
    prototypes: Tensor
    details: Prototypes
    class_names: tuple[str, ...]
    pixel_range: tuple[Sequence[float], Sequence[float]] | None

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images to (N, D) embeddings."""
        ...

    def distance(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) distances to the prototypes."""
        ...

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities to the prototypes."""
        ...

    def probabilities(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class probabilities."""
        ...

    def predict(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N,) predicted classes."""
        ...

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """(N, D): what the similarity of each embedding to a prototype of its own, by index (N,), starts from."""
        ...

    def prediction_relevance(self, z: Tensor, classes: Tensor) -> Tensor:
        """(N, D): what the probability of a class for each embedding, by index (N,), starts from."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters."""
        ...

    def float(self) -> Self:
        """The model, its parameters in 32-bit floats."""
        ...
