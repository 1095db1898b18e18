"""What a relevance method is, and what its maps explain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kmex_core.relevance.protocol import Explainable

ROWS = 64


@dataclass(frozen=True, eq=False)
class Targets:
    """What M relevance maps explain: for each, an image and one number that the model computes for it.

    Attributes:
        images: (M,) int64, which of the N images.
        outputs: (M,) int64: p < K is the similarity to prototype p, K + c the black box's score of class c, and
            K + C + c the probability of class c by the prototypes.
        prototypes, classes: K and C.
    """

    images: Tensor
    outputs: Tensor
    prototypes: int
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def of_prototype(self) -> Tensor:
        """(M,) bool: a similarity is explained."""
        return self.outputs < self.prototypes

    @property
    def of_prediction(self) -> Tensor:
        """(M,) bool: a probability by the prototypes is explained."""
        return self.outputs >= self.prototypes + self.classes

    @property
    def of_black_box(self) -> Tensor:
        """(M,) bool: a score of the black box is explained."""
        return ~(self.of_prototype | self.of_prediction)

    def __getitem__(self, part: slice) -> Targets:
        return Targets(self.images[part], self.outputs[part], self.prototypes, self.classes)


def all_outputs(model: Explainable, images: Tensor) -> Tensor:
    """(N, C, H, W) images to (N, K + 2C): similarities, scores of the black box, probabilities by the prototypes."""
    z = model.encode(images)
    similarity = model.similarity(z)
    return torch.cat([similarity, model.head(z), model.probabilities(similarity)], 1)


class RelevanceMethod(ABC):
    """A way to make relevance maps. A file in `relevance.methods` with a subclass adds one: the command line and the
    pages can then show its maps, and the evaluation measures them.

    Its class attributes are literals, because they are read without importing the file; `MethodDescription` says what
    they are.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    place: ClassVar[int]
    version: ClassVar[int] = 1
    conserves: ClassVar[bool] = True

    def why_not(self, model: Explainable, size: Sequence[int]) -> str:
        """Why it makes no maps of a model, as a sentence; "" when it does.

        Args:
            model: the model.
            size: of an image, (C, H, W).
        """
        return ""

    @abstractmethod
    def maps(
        self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS
    ) -> tuple[Tensor, Tensor]:
        """Relevance maps.

        Args:
            model: what is explained.
            images: (N, C, H, W), normalised.
            z: (N, D) their embeddings.
            targets: M of them.
            rows: how many images may go through the network at once; fewer where memory is short.

        Returns:
            (M, C, H, W) relevance of each pixel and channel, and (M,) what each map should sum to; NaN where the
            method promises no sum.

        Raises:
            CannotExplain: when it turns out that there are no maps of these images.
        """


class CannotExplain(ValueError):
    """A method has no maps of a model; the message is a sentence that says why."""
