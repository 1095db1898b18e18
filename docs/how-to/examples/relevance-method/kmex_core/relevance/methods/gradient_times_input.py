"""Gradient times input."""

from __future__ import annotations

import torch
from torch import Tensor

from kmex_core.networks.memory import Portions
from kmex_core.relevance.method import ROWS, RelevanceMethod, Targets, all_outputs
from kmex_core.relevance.protocol import Explainable


class GradientTimesInput(RelevanceMethod):
    """The gradient of the explained number by each pixel, times the pixel."""

    name = "gradient_times_input"
    title = "gradient × input"
    about = "The gradient by each pixel times the pixel, for any network; one pass, but noisy."
    place = 2
    conserves = False

    def maps(
        self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS
    ) -> tuple[Tensor, Tensor]:
        """See `RelevanceMethod.maps`; the maps promise no sum."""

        def outputs(batch: Tensor) -> Tensor:
            return all_outputs(model, batch)

        def of_part(part: slice) -> Tensor:
            pixels = images[targets.images[part]].detach().requires_grad_()  # (m, C, H, W)
            explained = outputs(pixels).gather(1, targets.outputs[part, None])  # (m, 1)
            (gradient,) = torch.autograd.grad(explained.sum(), pixels)
            return (gradient * pixels).detach()

        portions = Portions.fitting(outputs, images, rows, backward=True)
        maps = torch.cat(list(portions.over(len(targets), of_part)))
        return maps, maps.new_full((len(maps),), torch.nan)
