"""Where relevance starts in a `KMEx`: at the dimensions of its embedding."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from kmex_core.base.errors import InputError
from kmex_core.prototypes.fit import class_members
from kmex_core.prototypes.metric import EmbeddingMetric, pulled_back
from kmex_core.prototypes.temperature import Temperature
from kmex_core.relevance.starts import margin_relevance, prediction_relevance, similarity_relevance


class _Prototypical(Protocol):
    """What of a `KMEx` is needed here."""

    prototypes: Tensor
    prototype_class: Tensor
    metric: EmbeddingMetric
    metric_matrix: Tensor
    temperature: Temperature | None
    class_names: tuple[str, ...]

    def mapped(self, z: Tensor) -> Tensor: ...
    def distance(self, z: Tensor) -> Tensor: ...
    def similarity(self, z: Tensor) -> Tensor: ...
    def scores(self, z: Tensor) -> Tensor: ...
    def posterior(self, z: Tensor) -> Tensor: ...
    def _pulled_back(self, relevance: Tensor, z: Tensor) -> Tensor: ...


class RelevanceStarts:
    """Margins against rivals, and the relevance of the embedding's dimensions for each target."""

    def rivals(self: _Prototypical, z: Tensor, prototypes: Tensor, how: str = "class") -> Tensor:
        """(N,) the rival of one prototype each, (N,): the nearest prototype of another class ("class"), or the nearest
        other one ("prototype").

        Raises:
            InputError: when there is none.
        """
        alike = self.prototype_class[prototypes][:, None] == self.prototype_class
        if how == "prototype":
            alike = torch.zeros_like(alike).scatter_(1, prototypes[:, None], value=True)
        if bool(alike.all(1).any()):
            raise InputError("There is no other prototype to compare with.")
        return self.distance(z).masked_fill(alike, torch.inf).argmin(1)

    def margin(self: _Prototypical, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(N,) margins ‖z̃ − q‖² − ‖z̃ − p‖² of prototypes p against rivals q, both (N,): positive where p is nearer."""
        p, q = self.prototypes[prototypes], self.prototypes[rivals]
        # as (2 z̃ − p − q) · (p − q): near ties lose no digits
        return ((2 * self.mapped(z) - p - q) * (p - q)).sum(1)

    def margin_relevance(self: _Prototypical, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the margin; rows sum to it."""
        p, q = self.prototypes[prototypes], self.prototypes[rivals]
        return margin_relevance(z, p, q, self.metric.name, self.metric_matrix)

    def prototype_relevance(self: _Prototypical, z: Tensor, prototypes: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the similarity to one prototype each, (N,)."""
        similarity = self.similarity(z).gather(1, prototypes[:, None])[:, 0]
        return self._pulled_back(similarity_relevance(self.mapped(z), self.prototypes[prototypes], similarity), z)

    def prediction_relevance(self: _Prototypical, z: Tensor, target: Tensor) -> Tensor:
        """(N, D) relevance of the embedding's dimensions for the posterior of one class each, (N,)."""
        members = class_members(self.prototype_class, len(self.class_names))[target]
        filled = members.clamp(min=0)  # −1 pads smaller classes: any index will do, its part is 0
        # each prototype's part of the class's probability, (N, k)
        scores = self.similarity(z) if self.temperature is None else self.scores(z) / self.temperature.value
        part = scores.gather(1, filled).masked_fill(members < 0, -torch.inf).softmax(1)
        probability = part * self.posterior(z).gather(1, target[:, None])
        return self._pulled_back(prediction_relevance(self.mapped(z), self.prototypes[filled], probability), z)

    def _pulled_back(self: _Prototypical, relevance: Tensor, z: Tensor) -> Tensor:
        return pulled_back(relevance, z, self.metric.name, self.metric_matrix)
