"""The posterior probability of a class by the prototypes."""

from __future__ import annotations

from torch import Tensor

from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import Target


class Probability(Target):
    """The probability of a class by the prototypes. LRP starts with the parts of the class's prototypes in it."""

    name = "class"
    title = "Probability of the class"
    about = "The probability of the prototype's class, by all prototypes together."
    noun = "probability"
    place = 2
    subject = "class"

    def values(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.values`."""
        return model.posterior(z).gather(1, of[:, None])[:, 0]

    def relevance(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.relevance`."""
        return model.prediction_relevance(z, of)
