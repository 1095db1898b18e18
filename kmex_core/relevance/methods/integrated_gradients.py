"""Integrated Gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kmex_core.relevance.method import ROWS, Attributions, RelevanceMethod
from kmex_core.relevance.paths import Paths, evenly, exact, gauss_legendre
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.replacements import REPLACEMENTS
from kmex_core.relevance.target import Targets

STEPS = (24, 96)


class IntegratedGradients(RelevanceMethod):
    """Integrated Gradients (Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017) from several
    baselines, each with the same say (see `paths.evenly`).

    A path has 24 Gauss-Legendre points; where the sum of a map is then not within 1% of what it should be (of the sum
    of its magnitudes), it is made anew with 96.

    Args:
        baselines: names in `REPLACEMENTS`; the average over several favours none of them.
    """

    name = "integrated-gradients"
    title = "Integrated Gradients"
    about = "Gradients summed along the paths from a black, a mean and a blurred image to the image, for any network."
    place = 1
    version = 2
    tolerance = 0.01

    def __init__(self, baselines: Sequence[str] = tuple(REPLACEMENTS)) -> None:
        self._baselines = tuple(baselines)

    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """See `RelevanceMethod.maps`; a map sums to the number for the image less its weighted mean for the
        baselines."""
        model = exact(model, images)
        starts = torch.stack([REPLACEMENTS[name](images, model) for name in self._baselines])
        values, expected = _along(model, images, starts, targets, STEPS[0], rows)
        # completeness: where the points are too few, as when the path crosses many kinks of the network, take more
        error = (values.sum((1, 2, 3)) - expected).abs() / values.abs().sum((1, 2, 3)).clamp(min=1e-30)
        few = torch.nonzero(error > self.tolerance)[:, 0]
        if len(few):
            again, place = targets.images[few].unique(return_inverse=True)
            part = targets[few].at(place)
            values[few], expected[few] = _along(model, images[again], starts[:, again], part, STEPS[1], rows)
        return Attributions(values, expected)


def _along(
    model: Explainable, images: Tensor, starts: Tensor, targets: Targets, steps: int, rows: int
) -> tuple[Tensor, Tensor]:
    paths = Paths(images, starts, *gauss_legendre(steps, images))
    return evenly(paths.attributions(model, targets, rows), paths.differences(model, targets, rows))
