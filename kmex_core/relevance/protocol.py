"""The model interface that relevance methods need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from kmex_core.prototypes.temperature import Temperature
from kmex_core.prototypes.types import Prototypes


class Explainable(Protocol):
    """An encoder with a head, and prototypes that determine the prediction.

    N images, C classes, K prototypes, D embedding dimensions. A similarity may have any sign (a dot product).
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
        """The lowest and the highest value of each input channel; None if unknown."""
        ...

    @property
    def pixel_mean(self) -> Sequence[float] | None:
        """The mean of each input channel in the training data; None if it is 0, as normalisation makes it."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) images to (N, D) embeddings."""
        ...

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities to the prototypes."""
        ...

    def posterior(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, C) class probabilities."""
        ...

    def margin(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(N,) how much nearer each embedding is to a prototype than to a rival, both by index (N,)."""
        ...

    def margin_relevance(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(N, D) relevance of the dimensions for the margin; rows sum to it."""
        ...

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """(N, D) relevance of the dimensions for the similarity of each embedding to one prototype, by index (N,)."""
        ...

    def prediction_relevance(self, z: Tensor, classes: Tensor) -> Tensor:
        """(N, D) relevance of the dimensions for the probability of one class per embedding, by index (N,)."""
        ...


class Prototypical(Explainable, Protocol):
    """`KMEx`, or a model with built-in prototypes."""

    prototypes: Tensor
    prototype_class: Tensor
    details: Prototypes
    class_names: tuple[str, ...]
    temperature: Temperature | None

    def distance(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) distances to the prototypes."""
        ...

    def rivals(self, z: Tensor, prototypes: Tensor, how: str = "class") -> Tensor:
        """(N,) the rival of a prototype, by index (N,), for each embedding."""
        ...

    def predict(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N,) predicted classes."""
        ...
