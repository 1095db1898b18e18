"""ProtoPNet at image level (Chen et al., NeurIPS 2019; as the KMEx paper uses it, 4.1 and Table 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from kmex_core.models.baseline import Baseline, PrototypeHead, Stage
from kmex_core.models.baseline_parts import encoder_of, insert_before
from kmex_core.networks.feature_maps import before_pooling
from kmex_core.prototypes.fit import pairwise
from kmex_core.prototypes.types import NO_IMAGE

HEAD_STEP = 0.01


class ProtoPNet(Baseline):
    """Prototypes are training images' embeddings: learned, and pushed onto the nearest one of their class.

    The backbone's feature maps go through 1×1 convolution, ReLU, 1×1 convolution and sigmoid, and are averaged: z. (For
    backbones without global average pooling, VGG and transformers, these layers act on the embedding.) Similarity
    s = log((d² + 1) / (d² + 1e-4)); a Linear layer without bias turns similarities into class scores.

    Training: `warm` epochs with a frozen backbone, then all of it except the last layer. Every `push`
    epochs after the warm ones the prototypes are pushed, and the last layer is trained alone for `head_epochs` passes
    over the embedding (the original makes 20).
    """

    name = "protopnet"
    title = "ProtoPNet"
    about = (
        "ProtoPNet learns **prototypes** together with its network, and moves each onto a training image of its class "
        "from time to time. A new image is compared with all of them, and a last layer weighs the similarities into a "
        "score for each class."
    )
    place = 1
    paper = ("ProtoPNet", "ProtoPNet+KMEx")
    epochs = (20, 20)
    defaults: ClassVar[Mapping[str, float]] = {
        "cross_entropy": 1.0,
        "clustering": 0.8,
        "separation": -0.08,
        "l1": 0.004,  # the original: 1e-4
        "warm": 5,
        "push": 5,
        "head_epochs": 20,
        "distinct": 0,  # 1: no two prototypes of a class are pushed onto one image
    }
    aliases: ClassVar[Mapping[str, str]] = {
        "head.prototypes": "prototype_vectors",
        "head.weight": "last_layer.weight",
    }

    head: PrototypeHead
    picture: Tensor

    def __init__(
        self, backbone: str, classes: int, image_size: int, k: int, options: Mapping[str, float], imagenet: bool = False
    ) -> None:
        encoder, dimensions = encoder_of(backbone, classes, image_size, imagenet)
        add_on = nn.Sequential(
            nn.Conv2d(dimensions, dimensions, 1), nn.ReLU(), nn.Conv2d(dimensions, dimensions, 1), nn.Sigmoid()
        )
        for layer in add_on:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        pool = before_pooling(encoder, image_size)
        if pool:
            insert_before(encoder, pool, add_on)
        else:
            encoder = nn.Sequential(encoder, nn.Unflatten(1, (dimensions, 1, 1)), add_on, nn.Flatten())
        super().__init__(encoder, PrototypeHead(dimensions, classes, k, squared=True), options)
        self.register_buffer("picture", torch.full((classes * k,), NO_IMAGE))
        self._add_on = next(name for name, part in self.named_modules() if part is add_on)

    def stage(self, epoch: int, epochs: int) -> Stage:
        """Warm epochs with a frozen backbone, then all but the last layer."""
        if epoch < self.options["warm"]:
            return Stage("warm", (self._add_on, "head.prototypes"))
        return Stage("joint", ("encoder", "head.prototypes"))

    def losses(self, images: Tensor, pixels: Tensor, labels: Tensor, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
        """Cross-entropy, clustering (distance to the nearest prototype of the class), separation (of any other)."""
        z = self.encode(images)
        scores = self.head(z)
        # d² to all prototypes (N, K); infinity masks other classes, or the own one, in the minimum
        squared = pairwise(z, self.head.prototypes).square()
        of_class = self.head.of_class.T[labels]
        weight = self.options
        return {
            "cross-entropy": weight["cross_entropy"] * nn.functional.cross_entropy(scores, labels),
            "clustering": weight["clustering"] * squared.masked_fill(~of_class, torch.inf).amin(1).mean(),
            "separation": weight["separation"] * squared.masked_fill(of_class, torch.inf).amin(1).mean(),
            "l1": weight["l1"] * self.others(),
        }, scores

    def others(self) -> Tensor:
        """The L1 norm of the last layer's weights between prototypes and other classes."""
        return (self.head.weight * ~self.head.of_class.T).abs().sum()

    def after_epoch(self, epoch: int, epochs: int, embedded: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Push the prototypes and train the last layer, every `push` epochs after the warm ones, and at the end."""
        since = epoch + 1 - int(self.options["warm"])
        if since > 0 and (since % max(1, int(self.options["push"])) == 0 or epoch + 1 == epochs):
            z, labels = embedded()
            self.push(z, labels)
            self.train_head(z, labels)

    def pushed(self) -> Tensor:
        """(K,) int64, the training image that each prototype was last pushed onto, or `NO_IMAGE`."""
        return self.picture

    def push(self, z: Tensor, labels: Tensor) -> None:
        """Move each prototype to the nearest training embedding of its class, and record the image (Chen et al.).

        With the option "distinct", prototypes of a class get different images if there are enough, which leaves no
        prototype without an image of its own: ghosting then says little.

        Args:
            z: (N, D) the training embedding.
            labels: (N,).
        """
        with torch.no_grad():
            for label in range(self.head.out_features):
                rows = torch.nonzero(labels == label)[:, 0]
                of_class = torch.nonzero(self.head.prototype_class == label)[:, 0]
                distance = pairwise(self.head.prototypes[of_class], z[rows])
                distinct = bool(self.options["distinct"]) and len(rows) >= len(of_class)
                # prototypes nearest to an image choose first; a chosen image is taken from the others
                for nearest in distance.amin(1).argsort(stable=True).tolist():
                    image = int(distance[nearest].argmin())
                    self.head.prototypes[of_class[nearest]] = z[rows[image]]
                    self.picture[of_class[nearest]] = rows[image]
                    if distinct:
                        distance[:, image] = torch.inf

    def train_head(self, z: Tensor, labels: Tensor) -> None:
        """Train only the last layer, on the fixed embedding."""
        # the embedding is fixed, so the similarities (N, K) are computed once for all passes
        with torch.no_grad():
            similarity = self.head.similarity(z)
        weight = self.head.weight.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([weight], HEAD_STEP)
        with torch.enable_grad():
            for _ in range(int(self.options["head_epochs"])):
                optimiser.zero_grad()
                loss = nn.functional.cross_entropy(nn.functional.linear(similarity, weight), labels)
                (loss + self.options["l1"] * (weight * ~self.head.of_class.T).abs().sum()).backward()
                optimiser.step()
        with torch.no_grad():
            self.head.weight.copy_(weight)
