"""The black box's score of a class."""

from __future__ import annotations

import torch
from torch import Tensor

from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import Target


class Score(Target):
    """The score that the black box gives a class, before softmax; less that of a rival class where there is one. LRP
    starts at its head (see `lrp.class_relevance`)."""

    name = "score"
    title = "Score of the black box"
    about = "The score that the black box on the same encoder gives the prototype's class."
    noun = "score"
    place = 3
    subject = "class"

    def values(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.values`."""
        scores: Tensor = model.head(z)
        return scores.gather(1, of[:, None])[:, 0] - torch.where(
            rival >= 0, scores.gather(1, rival.clamp(min=0)[:, None])[:, 0], 0.0
        )

    def relevance(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.relevance`."""
        from kmex_core.relevance.lrp import class_relevance  # zennit's import takes seconds, and only LRP starts here

        relevance = class_relevance(model.head, z, of)
        against = torch.nonzero(rival >= 0)[:, 0]
        if not len(against):
            return relevance
        return relevance.index_add(0, against, class_relevance(model.head, z[against], rival[against]), alpha=-1)
