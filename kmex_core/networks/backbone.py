"""The interface of sources of backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn


class BackboneSource(ABC):
    """A backbone or a family of backbones. To add one, add a file with a subclass to `networks.backbones`: its
    backbones can then be trained, imported and converted.

    Attributes:
        name: of the source.
    """

    name: ClassVar[str]

    @abstractmethod
    def names(self) -> list[str]:
        """The names of its backbones."""

    @abstractmethod
    def build(self, name: str, classes: int, image_size: int, imagenet: bool) -> nn.Module:
        """A classifier with new weights: images (N, 3, S, S) to class scores (N, C).

        Args:
            name: one of `names()`.
            classes: C.
            image_size: S in pixels.
            imagenet: start from ImageNet weights, with a new head.

        Raises:
            InputError: for unavailable weights.
            ValueError, AssertionError: for an unsupported image size.
        """
