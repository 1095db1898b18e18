"""Baselines: an encoder, and a head with built-in prototypes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.prototypes.fit import pairwise, similarity
from kmex_core.relevance.starts import similarity_relevance

OWN, OTHER = 1.0, -0.5


@dataclass(frozen=True)
class Stage:
    """A part of training.

    Attributes:
        name: its name.
        trained: the names of the modules (prefixes of parameter names) that learn; all others are frozen, and their
            batch statistics with them.
    """

    name: str
    trained: tuple[str, ...]


class PrototypeHead(nn.Module):
    """Embeddings to class scores by way of prototypes: a bias-free Linear layer on similarities.

    Its weights start at +1 for a prototype of the class, −0.5 for one of another.

    Args:
        dimensions: D.
        classes: C.
        k: prototypes per class.
        squared: the similarity takes d² (ProtoPNet) or d (ProtoVAE).
    """

    prototype_class: Tensor

    def __init__(self, dimensions: int, classes: int, k: int, squared: bool) -> None:
        super().__init__()
        self.in_features, self.out_features, self.squared = dimensions, classes, squared
        self.prototypes = nn.Parameter(torch.rand(classes * k, dimensions))
        self.register_buffer("prototype_class", torch.arange(classes).repeat_interleave(k))
        self.weight = nn.Parameter(torch.where(self.of_class.T, OWN, OTHER))

    @property
    def of_class(self) -> Tensor:
        """(K, C) bool, which class each prototype is of."""
        return self.prototype_class[:, None] == torch.arange(self.out_features, device=self.prototype_class.device)

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities, log((d² + 1) / (d² + 1e-4)), or with d for d²."""
        return similarity(pairwise(z, self.prototypes), squared=self.squared)

    def classify(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class scores."""
        return nn.functional.linear(similarity, self.weight)

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, C) class scores."""
        return self.classify(self.similarity(z))

    def relevance(self, z: Tensor, target: Tensor) -> Tensor:
        """(N, D) relevance of the dimensions for the score of one class each, (N,): each prototype splits its part."""
        parts = self.similarity(z) * self.weight[target]
        # score = Σ_p w_p s_p: each prototype's part is distributed over the dimensions like its similarity
        relevance = torch.zeros_like(z)
        for p in range(len(self.prototypes)):
            relevance += similarity_relevance(z, self.prototypes[p].expand_as(z), parts[:, p])
        return relevance


class Baseline(nn.Module):
    """A prototypical self-explainable model. N images, C classes, K prototypes, D dimensions.

    To add one, add a file with a subclass to `models.baselines`. The class attributes up to `defaults` must be
    literals, because they are read without importing the file; see `ModelKind`.

    Attributes:
        aliases: parameter names in the authors' checkpoints, by the names here.

    Args:
        encoder: images (N, 3, S, S) to embeddings (N, D).
        head: embeddings to class scores.
        options: hyper-parameters by name; defaults for missing ones.

    Raises:
        InputError: for an unknown option.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    paper: ClassVar[tuple[str, str]]
    place: ClassVar[int]
    epochs: ClassVar[tuple[int, int]]
    learning_rate: ClassVar[float] = 0.001
    similarity_from: ClassVar[str] = "distance"
    defaults: ClassVar[Mapping[str, float]]
    aliases: ClassVar[Mapping[str, str]] = {}
    head: Any

    def __init__(self, encoder: nn.Module, head: nn.Module, options: Mapping[str, float]) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.options = checked_options(type(self), options)

    @property
    def prototypes(self) -> Tensor:
        """(K, D)."""
        prototypes: Tensor = self.head.prototypes
        return prototypes

    @property
    def prototype_class(self) -> Tensor:
        """(K,) int64."""
        prototype_class: Tensor = self.head.prototype_class
        return prototype_class

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, D) embeddings."""
        z: Tensor = self.encoder(images)
        return z

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) to (N, K)."""
        similarities: Tensor = self.head.similarity(z)
        return similarities

    def classify(self, similarity: Tensor) -> Tensor:
        """(N, K) to (N, C) class scores."""
        scores: Tensor = self.head.classify(similarity)
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, C) class scores."""
        return self.classify(self.similarity(self.encode(images)))

    def stage(self, epoch: int, epochs: int) -> Stage:
        """The stage of an epoch, 0 … epochs − 1."""
        raise NotImplementedError

    def losses(self, images: Tensor, pixels: Tensor, labels: Tensor, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
        """The weighted terms of the loss by name, to be summed, and the class scores.

        Args:
            images: (N, 3, S, S) normalised.
            pixels: (N, 3, S, S) the same, 0…1.
            labels: (N,).
            stage: the result of `stage`.
        """
        raise NotImplementedError

    @classmethod
    def options_for(cls, dataset: str) -> dict[str, float]:
        """The hyper-parameters whose default depends on the data set, by its name."""
        return {}

    def pushed(self) -> Tensor | None:
        """(K,) int64, the training image each prototype was last pushed onto, or `NO_IMAGE`; None without pushing."""
        return None

    def decoded(self) -> Tensor | None:
        """(K, 3, S, S) pixels 0…1, the decoded prototypes; None without a decoder."""
        return None

    def after_epoch(self, epoch: int, epochs: int, embedded: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """A hook between epochs; does nothing by default.

        Args:
            epoch, epochs: see `stage`.
            embedded: gives the training split's embedding (N, D) in evaluation mode and its labels (N,), in order.
        """


def checked_options(kind: type[Baseline], options: Mapping[str, float]) -> dict[str, float]:
    """All options of a kind of model: those given, and the defaults of the others.

    Raises:
        InputError: for an unknown option.
    """
    unknown = [name for name in options if name not in kind.defaults]
    if unknown:
        raise InputError(f"{kind.title} has no option '{unknown[0]}'; known: {', '.join(kind.defaults)}.")
    return {name: float(options.get(name, default)) for name, default in kind.defaults.items()}
