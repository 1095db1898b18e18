"""Prototypical relevance propagation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kmex_core.networks.memory import Portions
from kmex_core.relevance.layers import NoRules
from kmex_core.relevance.lrp import LRP_COPIES, class_relevance, has_rules, lrp_of, no_rules
from kmex_core.relevance.method import ROWS, CannotExplain, RelevanceMethod, Targets
from kmex_core.relevance.protocol import Explainable


class PrototypicalRelevancePropagation(RelevanceMethod):
    """PRP (Gautam et al., Pattern Recognition 136, 2023): a similarity is distributed over the embedding's
    dimensions and propagated to the pixels by LRP. A class score starts at the head, as in plain LRP."""

    name = "prp"
    title = "Prototypical relevance propagation (PRP)"
    about = "Layer-wise relevance propagation from the similarity to the pixels, for networks like ResNet and VGG."
    place = 0

    def why_not(self, model: Explainable, size: Sequence[int]) -> str:
        """See `RelevanceMethod.why_not`: the rules cover networks of convolutions, pooling, ReLU and sums."""
        if model.pixel_range is not None and has_rules(model.encoder, size):
            return ""
        return no_rules(model.encoder)

    def maps(
        self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS
    ) -> tuple[Tensor, Tensor]:
        """See `RelevanceMethod.maps`; a relevance map sums to its similarity, probability or score (without bias)."""
        assert model.pixel_range is not None
        # (M, D) relevance of the embedding's dimensions, by kind of target
        starts = z[targets.images]
        relevance = torch.empty_like(starts)
        to_prototype, to_score, to_prediction = targets.of_prototype, targets.of_black_box, targets.of_prediction
        with torch.no_grad():
            relevance[to_prototype] = model.prototype_relevance(starts[to_prototype], targets.outputs[to_prototype])
            classes = targets.outputs - targets.prototypes
            relevance[to_score] = class_relevance(model.head, starts[to_score], classes[to_score])
            relevance[to_prediction] = model.prediction_relevance(
                starts[to_prediction], classes[to_prediction] - targets.classes
            )
        # propagate to the pixels, as many targets at once as fit into free memory
        try:
            lrp = lrp_of(model.encoder, *model.pixel_range, images.shape[1:])
            portions = Portions.fitting(model.encoder, images, rows, backward=True, copies=LRP_COPIES)
            parts = list(
                portions.over(
                    len(targets), lambda part: lrp.maps(images[targets.images[part]], relevance[part], starts[part])
                )
            )
        except NoRules as reason:  # the layers that run depend on the image
            raise CannotExplain(no_rules(model.encoder)) from reason
        return torch.cat(parts), relevance.sum(1)
