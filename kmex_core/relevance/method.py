"""The interface of relevance methods, and the targets of relevance maps."""

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
    """The targets of M relevance maps: for each, an image and one number that the model computes for it.

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
        """(M,) bool: targets that are similarities."""
        return self.outputs < self.prototypes

    @property
    def of_prediction(self) -> Tensor:
        """(M,) bool: targets that are probabilities by the prototypes."""
        return self.outputs >= self.prototypes + self.classes

    @property
    def of_black_box(self) -> Tensor:
        """(M,) bool: targets that are scores of the black box."""
        return ~(self.of_prototype | self.of_prediction)

    def __getitem__(self, part: slice) -> Targets:
        return Targets(self.images[part], self.outputs[part], self.prototypes, self.classes)


def all_outputs(model: Explainable, images: Tensor) -> Tensor:
    """(N, C, H, W) images to (N, K + 2C): similarities, scores of the black box, probabilities by the prototypes."""
    z = model.encode(images)
    similarity = model.similarity(z)
    return torch.cat([similarity, model.head(z), model.posterior(z)], 1)


class RelevanceMethod(ABC):
    """A relevance method. To add one, add a file with a subclass to `relevance.methods`: the command line and the pages
    then show its relevance maps, and the evaluation measures them.

    The class attributes must be literals, because they are read without importing the file; see `MethodDescription`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    place: ClassVar[int]
    version: ClassVar[int] = 1
    conserves: ClassVar[bool] = True

    def why_not(self, model: Explainable, size: Sequence[int]) -> str:
        """The reason, as a sentence, why the method cannot explain a model; "" if it can.

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
            model: the model to explain.
            images: (N, C, H, W), normalised.
            z: (N, D) their embeddings.
            targets: M targets.
            rows: the most images in one pass through the network; fewer if memory is short.

        Returns:
            (M, C, H, W) relevance of each pixel and channel, and (M,) the expected sum of each relevance map; NaN
            if the method guarantees none.

        Raises:
            CannotExplain: when the method cannot explain these images.
        """


class CannotExplain(ValueError):
    """A method cannot explain a model; the message gives the reason."""
