"""The margin of a prototype against a rival."""

from __future__ import annotations

from torch import Tensor

from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import Target


class Margin(Target):
    """How much nearer a prototype p is than a rival q: f(z) = ‖z − q‖² − ‖z − p‖², positive exactly where p is nearer.

    With the nearest prototype and the nearest one of another class it is what decides between the two classes. It is
    linear in z. LRP starts as NEON does (Kauffmann et al., From Clustering to Cluster Explanations via Neural Networks,
    TNNLS 35(2), 2024): with m = (p + q)/2, R = 2 (p − q) ⊙ (z − m).
    """

    name = "margin"
    title = "Margin to the rival"
    about = "How much nearer the image is to the prototype than to a rival, as a rule the nearest of another class."
    noun = "margin"
    place = 0
    has_rival = True

    def values(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.values`."""
        return model.margin(z, of, rival)

    def relevance(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.relevance`."""
        return model.margin_relevance(z, of, rival)
