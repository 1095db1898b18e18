"""A head of prototypes that training images are drawn to, by cross-entropy and compactness alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from kmex_core.models.baseline import Baseline, PrototypeHead, Stage
from kmex_core.models.baseline_parts import encoder_of
from kmex_core.prototypes.fit import pairwise


class Compact(Baseline):
    """Each image is drawn to the nearest prototype of its class; a Linear layer on similarities decides."""

    name = "compact"
    title = "Compact"
    about = "Prototypes that the training images of their class are drawn to. A linear layer on similarities decides."
    paper = ("Compact", "Compact+KMEx")
    place = 4
    epochs = (10, 30)
    defaults: ClassVar[Mapping[str, float]] = {"cross_entropy": 1.0, "compactness": 0.01}

    head: PrototypeHead

    def __init__(
        self, backbone: str, classes: int, image_size: int, k: int, options: Mapping[str, float], imagenet: bool = False
    ) -> None:
        encoder, dimensions = encoder_of(backbone, classes, image_size, imagenet)
        super().__init__(encoder, PrototypeHead(dimensions, classes, k, squared=True), options)

    def stage(self, epoch: int, epochs: int) -> Stage:
        """All of it, always."""
        return Stage("joint", ("encoder", "head"))

    def losses(self, images: Tensor, pixels: Tensor, labels: Tensor, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
        """Cross-entropy, and the mean squared distance to the nearest prototype of the image's class."""
        z = self.encode(images)
        scores = self.classify(self.similarity(z))
        squared = pairwise(z, self.prototypes).square()  # (N, K)
        of_class = self.head.of_class.T[labels]  # (N, K), the prototypes of each image's class
        nearest = squared.masked_fill(~of_class, float("inf")).amin(1)
        return {
            "cross-entropy": self.options["cross_entropy"] * nn.functional.cross_entropy(scores, labels),
            "compactness": self.options["compactness"] * nearest.mean(),
        }, scores
