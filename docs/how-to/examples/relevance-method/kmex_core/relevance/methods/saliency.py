"""Saliency: the gradient alone."""

from __future__ import annotations

import torch
from torch import Tensor

from kmex_core.networks.memory import Portions
from kmex_core.relevance.method import ROWS, Attributions, RelevanceMethod
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.target import Targets


class Saliency(RelevanceMethod):
    """The gradient of the explained number by each pixel."""

    name = "saliency"
    title = "Saliency"
    about = "The gradient by each pixel, for any network; one pass, but noisy."
    place = 6
    conserves = False

    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """See `RelevanceMethod.maps`; the maps promise no sum."""

        def of_part(part: slice) -> Tensor:
            pixels = images[targets.images[part]].detach().requires_grad_()  # (m, C, H, W)
            explained = targets[part].values(model, model.encode(pixels))  # (m,)
            (gradient,) = torch.autograd.grad(explained.sum(), pixels)
            return gradient.detach()

        portions = Portions.fitting(model.encoder, images, rows, backward=True)
        maps = torch.cat(list(portions.over(len(targets), of_part)))
        return Attributions(maps, maps.new_full((len(maps),), torch.nan))
