"""A black box beside prototypes that are not KMEx's: with its own network, and without prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


class Classifier(Protocol):
    """A network in two parts: images to embeddings, embeddings to class scores."""

    @property
    def encoder(self) -> nn.Module:
        """(N, channels, H, W) to (N, D)."""

    @property
    def head(self) -> nn.Module:
        """(N, D) to (N, C)."""


@dataclass(frozen=True, eq=False)
class BlackBoxAlone:
    """A black box with its own network as an `Explainable` without prototypes.

    Attributes:
        encoder, head: see `Classifier`.
        pixel_range, pixel_mean: see `Explainable`.
    """

    encoder: nn.Module
    head: nn.Module
    pixel_range: tuple[Sequence[float], Sequence[float]] | None
    pixel_mean: Sequence[float] | None

    def encode(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, D)."""
        z: Tensor = self.encoder(images)
        return z

    def similarity(self, z: Tensor) -> Tensor:
        """(N, 0)."""
        return z[:, :0]

    def posterior(self, z: Tensor) -> Tensor:
        """(N, 0)."""
        return z[:, :0]

    def margin(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(0,): never called, there are no targets."""
        return z[:, 0]

    def margin_relevance(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(0, D): never called, there are no targets."""
        return z

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """(0, D): never called, there are no targets."""
        return z

    def prediction_relevance(self, z: Tensor, classes: Tensor) -> Tensor:
        """(0, D): never called, there are no targets."""
        return z
