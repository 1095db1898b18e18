"""The interface of relevance methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import Targets

ROWS = 64
NO_GRADIENTS = "The network is run by onnxruntime, which has no gradients."


@dataclass(frozen=True, eq=False)
class Attributions:
    """The relevance of pixels for M targets.

    Attributes:
        values: (M, C, H, W) relevance of each pixel and channel.
        expected: (M,) what each map sums to if it is exact; NaN if the method guarantees no sum.
        absorbed: (M,) the part of the start that biases have absorbed, which `expected` is without; None if the method
            has no biases that absorb.
    """

    values: Tensor
    expected: Tensor
    absorbed: Tensor | None = None


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
    tolerance: ClassVar[float] = 0.05
    gradients: ClassVar[bool] = True

    def why_not(self, model: Explainable, size: Sequence[int]) -> str:
        """The reason, as a sentence, why the method cannot explain a model; "" if it can.

        Args:
            model: the model.
            size: of an image, (C, H, W).
        """
        return NO_GRADIENTS if self.gradients and not has_gradients(model) else ""

    @abstractmethod
    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """Relevance maps.

        Args:
            model: the model to explain.
            images: (N, C, H, W), normalised.
            z: (N, D) their embeddings.
            targets: M targets.
            rows: the most images in one pass through the network; fewer if memory is short.

        Raises:
            CannotExplain: when the method cannot explain these images.
        """


def has_gradients(model: Explainable) -> bool:
    """Whether gradients reach the images of a model; not through a part whose `differentiable` is False."""
    return all(getattr(part, "differentiable", True) for part in model.encoder.modules())


class CannotExplain(ValueError):
    """A method cannot explain a model; the message gives the reason."""
