"""What relevance methods need of a prototypical model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from kmex_core.prototypes.types import Prototypes


class Explainable(Protocol):
    """An encoder, a head beside it, and prototypes that decide.

    N images, C classes, K prototypes, D embedding dimensions. A similarity may be of any sign (a dot product, say).
    """

    @property
    def encoder(self) -> nn.Module:
        """(N, channels, H, W) images to (N, D) embeddings."""
        ...

    @property
    def head(self) -> nn.Module:
        """(N, D) embeddings to (N, C) class scores of the black box on the same encoder."""
        ...

    @property
    def pixel_range(self) -> tuple[Sequence[float], Sequence[float]] | None:
        """The lowest and the highest value of each input channel; None where it is not known."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) images to (N, D) embeddings."""
        ...

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities to the prototypes."""
        ...

    def probabilities(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class probabilities."""
        ...

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """(N, D): what the similarity of each embedding to a prototype of its own, by index (N,), starts from."""
        ...

    def prediction_relevance(self, z: Tensor, classes: Tensor) -> Tensor:
        """(N, D): what the probability of a class for each embedding, by index (N,), starts from."""
        ...


class Prototypical(Explainable, Protocol):
    """`KMEx`, or a model with built-in prototypes."""

    prototypes: Tensor
    details: Prototypes
    class_names: tuple[str, ...]

    def distance(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) distances to the prototypes."""
        ...

    def predict(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N,) predicted classes."""
        ...
