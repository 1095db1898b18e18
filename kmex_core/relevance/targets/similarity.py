"""The similarity to a prototype."""

from __future__ import annotations

from torch import Tensor

from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import Target


class Similarity(Target):
    """The similarity to one prototype, as published. LRP starts as PRP does (see `prp.similarity_relevance`)."""

    name = "similarity"
    title = "Similarity (as published)"
    about = "The similarity to the prototype, whatever the other prototypes are."
    noun = "similarity"
    place = 1

    def values(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.values`."""
        return model.similarity(z).gather(1, of[:, None])[:, 0]

    def relevance(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.relevance`."""
        return model.prototype_relevance(z, of)
