"""ProtoVAE (Gautam et al., NeurIPS 2022; Table 10 of the KMEx paper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from kmex_core.models.baseline import Baseline, PrototypeHead, Stage
from kmex_core.models.baseline_parts import Decoder, encoder_of

WIDEST = 256


class ProtoVAE(Baseline):
    """Prototypes are the centres of a mixture of Gaussians in a variational autoencoder, and can be decoded.

    The backbone's embedding gives μ and log σ². In training z is drawn from N(μ, σ²), in evaluation it is μ. Similarity
    s = log((d + 1) / (d + 1e-4)) with the unsquared distance; a Linear layer without bias turns similarities into
    class scores, and a decoder turns z into pixels.
    """

    name = "protovae"
    title = "ProtoVAE"
    about = (
        "ProtoVAE learns **prototypes** as centres in the space of an autoencoder, so each can be turned back into a "
        "picture. A new image is compared with all of them, and a last layer weighs the similarities into a score for "
        "each class."
    )
    place = 3
    paper = ("ProtoVAE", "ProtoVAE+KMEx")
    epochs = (20, 60)
    learning_rate = 0.01  # its authors'; 0.001 leaves the prototypes where they started
    defaults: ClassVar[Mapping[str, float]] = {
        "cross_entropy": 1.0,
        "reconstruction": 0.1,
        "kl": 1.0,
        "orthogonality": 0.1,
    }
    aliases: ClassVar[Mapping[str, str]] = {
        "head.prototypes": "prototype_vectors",
        "head.weight": "last_layer.weight",
    }

    head: PrototypeHead

    def __init__(
        self, backbone: str, classes: int, image_size: int, k: int, options: Mapping[str, float], imagenet: bool = False
    ) -> None:
        trunk, dimensions = encoder_of(backbone, classes, image_size, imagenet)
        encoder = nn.Sequential(trunk, nn.Linear(dimensions, dimensions))
        super().__init__(encoder, PrototypeHead(dimensions, classes, k, squared=False), options)
        nn.init.normal_(self.head.prototypes)
        self.to_log_variance = nn.Linear(dimensions, dimensions)
        self.decoder = Decoder(dimensions, image_size, min(WIDEST, dimensions))

    @classmethod
    def options_for(cls, dataset: str) -> dict[str, float]:
        """The weight of the KL divergence: 1 for MNIST, 100 for all others (Table 10). The digits are as simple."""
        return {"kl": 1.0 if dataset in ("mnist", "digits") else 100.0}

    def stage(self, epoch: int, epochs: int) -> Stage:
        """One stage, which trains everything."""
        return Stage("joint", ("encoder", "head", "to_log_variance", "decoder"))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) images to μ and log σ², (N, D) each."""
        trunk, to_mean = self.encoder[0], self.encoder[1]  # type: ignore[index]
        features = trunk(images)
        return to_mean(features), self.to_log_variance(features)

    def losses(self, images: Tensor, pixels: Tensor, labels: Tensor, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
        """Cross-entropy, reconstruction (mean squared error of pixels 0…1), similarity-weighted KL divergence to the
        Gaussians around the prototypes of the class, orthogonality of each class's prototypes around their mean."""
        mean, log_variance = self.posterior(images)
        # reparameterisation: z = μ + σ ε keeps the gradient to μ and σ
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean
        similarity = self.similarity(z)
        scores = self.classify(similarity)
        weight = self.options
        return {
            "cross-entropy": weight["cross_entropy"] * nn.functional.cross_entropy(scores, labels),
            "reconstruction": weight["reconstruction"] * nn.functional.mse_loss(self.decoder(z), pixels),
            "kl": weight["kl"] * self.divergence(mean, log_variance, similarity, labels),
            "orthogonality": weight["orthogonality"] * self.orthogonality(),
        }, scores

    def divergence(self, mean: Tensor, log_variance: Tensor, similarity: Tensor, labels: Tensor) -> Tensor:
        """KL(N(μ, σ²) ‖ N(p, I)) per dimension, to the class's prototypes p in proportion to their similarity.

        Args:
            mean, log_variance: (N, D).
            similarity: (N, K).
            labels: (N,).
        """
        # KL = ½ (σ² − 1 − log σ² + (μ − p)²) per dimension: first part (N, 1), distances to all prototypes (N, K)
        spread = (log_variance.exp() - 1 - log_variance).mean(1, keepdim=True)
        away = torch.cdist(mean, self.head.prototypes).square() / mean.shape[1]
        # weights over the prototypes of the image's class, (N, K), each row summing to 1
        share = similarity * self.head.of_class.T[labels]
        share = share / share.sum(1, keepdim=True).clamp(min=1e-12)
        return (share * (spread + away) / 2).sum(1).mean()

    def orthogonality(self) -> Tensor:
        """The mean over classes of ‖P̄P̄ᵀ − I‖ (Frobenius), P̄ the class's prototypes less their mean."""
        # (C, k, D), and the classes' Gram matrices (C, k, k)
        by_class = self.head.prototypes.view(self.head.out_features, -1, self.head.in_features)
        centred = by_class - by_class.mean(1, keepdim=True)
        product = centred @ centred.transpose(1, 2)
        return torch.linalg.matrix_norm(product - torch.eye(product.shape[1], device=product.device)).mean()

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) to (N, 3, S, S) pixels 0…1."""
        with torch.no_grad():
            pixels: Tensor = self.decoder(z)
        return pixels

    def decoded(self) -> Tensor:
        """(K, 3, S, S) pixels 0…1: the decoded prototypes."""
        return self.decode(self.prototypes)
