"""A model explained by its built-in prototypes, with the interface of KMEx."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.models.baseline import Baseline, PrototypeHead
from kmex_core.models.info import BuiltInDetails
from kmex_core.models.kmex import KMEx
from kmex_core.prototypes.fit import pairwise
from kmex_core.relevance.starts import similarity_relevance


def built_in_distance(head: Any, z: Tensor) -> Tensor:
    """(N, D) embeddings to (N, K): distances to the built-in prototypes; the lowest is the most similar.

    Euclidean if the similarity is based on a distance; otherwise (FLINT) the negative similarity.

    Args:
        head: of a prototypical model, see `baselines`.
        z: (N, D).
    """
    if isinstance(head, PrototypeHead):
        return pairwise(z, head.prototypes)
    return -torch.as_tensor(head.similarity(z))


def built_in_details(model: nn.Module) -> BuiltInDetails:
    """Details of built-in prototypes that only the baseline has.

    Args:
        model: the complete network, on any device.
    """
    assert isinstance(model, Baseline)
    pushed, pixels = model.pushed(), model.decoded()
    return BuiltInDetails(
        model.head.weight.detach().cpu().numpy(),
        None if pushed is None else pushed.cpu().numpy(),
        None if pixels is None else (pixels.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy(),
    )


class BuiltInPrototypes(KMEx):
    """A baseline with its own similarity and classification.

    The model's head takes the role of KMEx's black box, so the two always agree.
    """

    head: Any

    @property
    def by_distance(self) -> bool:  # type: ignore[override]
        """Whether the similarity is based on a distance; FLINT's is a dot product."""
        return isinstance(self.head, PrototypeHead)

    def distance(self, z: Tensor) -> Tensor:
        """See `built_in_distance`."""
        return built_in_distance(self.head, z)

    def similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities of the model; FLINT's may be negative."""
        similarities: Tensor = self.head.similarity(z)
        return similarities

    def reference_similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities: the model's own are those that the paper compares."""
        return self.similarity(z)

    def classify(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class scores, by the model's last layer."""
        scores: Tensor = self.head.classify(similarity)
        return scores

    def predict(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N,) classes: the highest score."""
        return self.classify(self.similarity(z)).argmax(1)

    def scores(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, C) scores of the posterior: the class scores."""
        return self.classify(self.similarity(z))

    @property
    def score_class(self) -> Tensor:
        """(C,) the class of each of the `scores`."""
        return torch.arange(len(self.class_names), device=self.prototype_class.device)

    def reference_probabilities(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) probabilities as published: softmax of the class scores."""
        return self.classify(similarity).softmax(1)

    def rivals(self, z: Tensor, prototypes: Tensor, how: str = "class") -> Tensor:
        """See `KMEx.rivals`; without a distance, the most similar prototype of the best-scored other class."""
        if self.by_distance or how == "prototype":
            return super().rivals(z, prototypes, how)
        own = self.prototype_class[prototypes]
        among = torch.zeros_like(self.scores(z), dtype=torch.bool)
        among[:, self.prototype_class.unique()] = True
        others = self.scores(z).masked_fill(~among, -torch.inf).scatter(1, own[:, None], -torch.inf)
        rival_class = others.argmax(1)
        if bool((rival_class == own).any()):
            raise InputError("There is no other class to compare with.")
        return self.distance(z).masked_fill(self.prototype_class != rival_class[:, None], torch.inf).argmin(1)

    def margin(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """See `KMEx.margin`; without a distance, the difference of the scores of the two classes."""
        if self.by_distance:
            return super().margin(z, prototypes, rivals)
        scores, of_class = self.scores(z), self.prototype_class
        mine, other = (scores.gather(1, of_class[p][:, None])[:, 0] for p in (prototypes, rivals))
        return mine - other

    def margin_relevance(self, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """See `KMEx.margin_relevance`; without a distance, the difference of the relevance for the two class scores."""
        if self.by_distance:
            return super().margin_relevance(z, prototypes, rivals)
        mine, other = (self.head.relevance(z, self.prototype_class[p]) for p in (prototypes, rivals))
        difference: Tensor = mine - other
        return difference

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the similarity to one prototype each, (N,).

        A similarity based on a distance is distributed as for KMEx; a dot product is split into its products.
        """
        if not self.by_distance:
            return z * self.prototypes[prototypes]
        similarity = self.similarity(z).gather(1, prototypes[:, None])[:, 0]
        return similarity_relevance(z, self.prototypes[prototypes], similarity)

    def prediction_relevance(self, z: Tensor, target: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the score of one class each, (N,)."""
        relevance: Tensor = self.head.relevance(z, target)
        return relevance
