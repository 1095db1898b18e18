"""Gradient × input."""

from __future__ import annotations

import torch
from torch import Tensor

from kmex_core.relevance.method import ROWS, Attributions, RelevanceMethod
from kmex_core.relevance.paths import Paths, exact
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.replacements import black
from kmex_core.relevance.target import Targets


class GradientInput(RelevanceMethod):
    """The gradient at the image times the image less black (Shrikumar et al., ICML 2017)."""

    name = "gradient-input"
    title = "Gradient × input"
    about = "The gradient at the image times the brightness of each pixel: one pass, for any network."
    place = 2
    conserves = False

    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """See `RelevanceMethod.maps`; the maps have no guaranteed sum."""
        model = exact(model, images)
        end = images.new_ones(1, 1, 1, 1)
        paths = Paths(images, black(images, model)[None], end, end.flatten())
        values = paths.attributions(model, targets, rows)[0]
        return Attributions(values, torch.full_like(values[:, 0, 0, 0], torch.nan))
