"""FLINT (Parekh, Mozharovskyi, d'Alché-Buc, NeurIPS 2021), with the interpreter FLINT-g (KMEx paper, 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from kmex_core.models.baseline import Baseline, Stage
from kmex_core.models.baseline_parts import Decoder, encoder_of
from kmex_core.networks.feature_maps import last_maps

WIDEST = 256
DROPOUT = 0.2


class AttributeHead(nn.Module):
    """Embeddings to class scores by way of attributes, whose weights are the prototypes; similarity is a dot product.

    Args:
        dimensions: D.
        classes: C.
        k: attributes per class; K = C · k in all.
    """

    def __init__(self, dimensions: int, classes: int, k: int) -> None:
        super().__init__()
        self.in_features, self.out_features = dimensions, classes
        self.attributes = nn.Linear(dimensions, classes * k, bias=False)
        self.interpreter = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(classes * k, classes))

    @property
    def prototypes(self) -> Tensor:
        """(K, D) the rows of the attribute layer."""
        return self.attributes.weight

    @property
    def weight(self) -> Tensor:
        """(C, K) from attributes to classes."""
        last: nn.Linear = self.interpreter[1]  # type: ignore[assignment]
        return last.weight

    @property
    def prototype_class(self) -> Tensor:
        """(K,) int64, the class with the largest weight of each attribute."""
        return self.weight.argmax(0)

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) to (N, K): dot products, which may be below 0."""
        similarities: Tensor = self.attributes(z)
        return similarities

    def classify(self, similarity: Tensor) -> Tensor:
        """(N, K) to (N, C): the interpreter on the attributes Φ = ReLU(similarity)."""
        scores: Tensor = self.interpreter(similarity.relu())
        return scores

    def relevance(self, z: Tensor, target: Tensor) -> Tensor:
        """(N, D) relevance of the dimensions for the score of one class each, (N,), in proportion to contributions;
        each row sums to the score without its bias."""
        # score = Σ_p w_p ReLU(a_p · z): only attributes above 0 contribute
        active = self.weight[target] * (self.similarity(z) > 0)
        return active @ self.attributes.weight * z

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) to (N, C) class scores."""
        return self.classify(self.similarity(z))


class AttributeEncoder(nn.Module):
    """The backbone's last two feature maps, each through a 3×3 convolution, joined, through another, averaged: (N, D).

    Keeps the backbone's embedding of the last pass for the predictor.
    """

    title = "FLINT, whose attributes combine feature maps of two layers"

    def __init__(self, trunk: nn.Module, image_size: int, dimensions: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.taps = last_maps(trunk, image_size)
        width = max(16, dimensions // 2)
        self.first = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()) for _, channels, _ in self.taps
        )
        self.second = nn.Sequential(nn.Conv2d(width * len(self.taps), dimensions, 3, padding=1), nn.ReLU())
        self.side = self.taps[-1][2]

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) to the attributes' embedding (N, D) and the backbone's own."""
        maps: dict[str, Tensor] = {}
        handles = [
            self.trunk.get_submodule(name).register_forward_hook(
                lambda _m, _i, out, name=name: maps.__setitem__(name, out)
            )
            for name, _, _ in self.taps
        ]
        try:
            features = self.trunk(images)
        finally:
            for handle in handles:
                handle.remove()
        joined = torch.cat(
            [
                nn.functional.adaptive_avg_pool2d(layer(maps[name]), self.side)
                for layer, (name, _, _) in zip(self.first, self.taps, strict=True)
            ],
            1,
        )
        z: Tensor = self.second(joined).mean((2, 3))
        return z, features

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, D)."""
        return self.both(images)[0]


class FLINT(Baseline):
    """A predictor f, and an interpreter g that explains it by attributes of its feature maps; g is the model here.

    Training: first only the predictor, then also fidelity of interpreter and decoder, then also sparse attributes per
    image and use of all attributes.
    """

    name = "flint"
    title = "FLINT"
    about = (
        "FLINT learns **attributes** of the network's feature maps together with the network. A new image has each "
        "attribute to some degree, which is its similarity here, and a last layer weighs them into a score for "
        "each class. An attribute belongs to the class with its largest weight."
    )
    place = 2
    paper = ("FLINT", "FLINT+KMEx")
    epochs = (10, 30)
    similarity_from = "dot product"
    defaults: ClassVar[Mapping[str, float]] = {
        "cross_entropy": 0.8,
        "input_fidelity": 0.8,
        "output_fidelity": 1.0,
        "conciseness": 0.1,
        "entropy": 0.2,
        "diversity": 0.2,
        "predictor_share": 0.2,  # of the epochs, training only the predictor
        "fidelity_share": 0.2,  # of the remaining epochs, before sparsity
    }

    encoder: AttributeEncoder
    head: AttributeHead

    def __init__(
        self, backbone: str, classes: int, image_size: int, k: int, options: Mapping[str, float], imagenet: bool = False
    ) -> None:
        trunk, dimensions = encoder_of(backbone, classes, image_size, imagenet)
        encoder = AttributeEncoder(trunk, image_size, dimensions)
        super().__init__(encoder, AttributeHead(dimensions, classes, k), options)
        self.predictor = nn.Linear(dimensions, classes)
        self.decoder = Decoder(classes * k, image_size, min(WIDEST, dimensions))

    def stage(self, epoch: int, epochs: int) -> Stage:
        """The predictor alone, then fidelity, then all."""
        first = round(self.options["predictor_share"] * epochs)
        if epoch < first:
            return Stage("predictor", ("encoder.trunk", "predictor"))
        everything = ("encoder", "head", "predictor", "decoder")
        if epoch < first + round(self.options["fidelity_share"] * epochs):
            return Stage("fidelity", everything)
        return Stage("all", everything)

    def losses(self, images: Tensor, pixels: Tensor, labels: Tensor, stage: Stage) -> tuple[dict[str, Tensor], Tensor]:
        """Cross-entropy of the predictor, fidelity of output (cross-entropy between predictor and interpreter) and
        input (squared error of the decoded attributes), and the three terms of `of_attributes`."""
        z, features = self.encoder.both(images)
        predicted = self.predictor(features)  # (N, C), the black box f
        weight = self.options
        terms = {"cross-entropy": weight["cross_entropy"] * nn.functional.cross_entropy(predicted, labels)}
        if stage.name == "predictor":
            return terms, predicted
        # the interpreter g sees only the attributes Φ (N, K); it is to predict what f predicts, and to keep the image.
        # f is a constant there, as in its authors' code: g follows f, not f what g finds easy
        target = predicted.detach().softmax(1)
        similarity = self.similarity(z)
        attributes, scores = similarity.relu(), self.classify(similarity)
        terms |= {
            "input": weight["input_fidelity"] * nn.functional.mse_loss(self.decoder(attributes), pixels),
            "output": weight["output_fidelity"] * -(target * scores.log_softmax(1)).sum(1).mean(),
        }
        if stage.name == "all":
            terms |= self.of_attributes(attributes)
        return terms, scores

    def of_attributes(self, attributes: Tensor) -> dict[str, Tensor]:
        """Conciseness (their mean) and entropy over attributes, both small for each image; entropy of the mean over
        images large (diversity): all attributes are used.

        Args:
            attributes: (N, K) Φ, 0 or more.
        """
        weight = self.options
        return {
            "conciseness": weight["conciseness"] * attributes.mean(),
            "entropy": weight["entropy"] * _entropy(attributes).mean(),
            "diversity": -weight["diversity"] * _entropy(attributes.mean(0, keepdim=True)).mean(),
        }


def _entropy(values: Tensor) -> Tensor:
    """(N, K) to (N,): the entropy of softmax, in nats."""
    log_share = values.log_softmax(1)
    return -(log_share.exp() * log_share).sum(1)
