"""Integrated Gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks.memory import Portions
from kmex_core.relevance.method import ROWS, RelevanceMethod, Targets, all_outputs
from kmex_core.relevance.protocol import Explainable

STEPS = 64


class IntegratedGradients(RelevanceMethod):
    """Integrated Gradients (Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017) of the
    explained number, from a black image."""

    name = "integrated_gradients"
    title = "Integrated Gradients"
    about = "Gradients summed along the path from a black image to the image, for any network."
    place = 1

    def maps(
        self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS
    ) -> tuple[Tensor, Tensor]:
        """See `RelevanceMethod.maps`; a map sums to the number for the image less that for the black image."""
        exact = _exact(model, images)
        black = images.amin((0, 2, 3)) if exact.pixel_range is None else images.new_tensor(exact.pixel_range[0])
        baseline = black.view(1, -1, 1, 1).expand(1, *images.shape[1:])
        return integrated_gradients(
            lambda batch: all_outputs(exact, batch), images[targets.images], targets.outputs, baseline, rows
        )


def integrated_gradients(
    function: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, baseline: Tensor, rows: int = ROWS
) -> tuple[Tensor, Tensor]:
    """Integrated Gradients of a function, with captum.

    The path runs straight from `baseline` to the image, in 64 Gauss-Legendre steps. As many steps and images
    as fit into free memory go through the network at once, at most `rows`.

    Args:
        function: images (N, C, H, W) to outputs (N, T).
        images: (N, C, H, W).
        targets: (N,) the output to explain, per image.
        baseline: (1, C, H, W), a black image.
        rows: see above.

    Returns:
        Attributions (N, C, H, W), and their expected sums (N,): output of the image less output of the baseline.
    """
    from captum.attr import IntegratedGradients as Captum

    method = Captum(function)
    portions = Portions.fitting(function, images, rows, backward=True)

    def attribute_part(part: slice) -> tuple[Tensor, Tensor]:
        inputs, target = images[part], targets[part]
        start = baseline.expand_as(inputs)
        # captum splits images × steps into batches of this many rows
        steps = max(len(inputs), min(portions.rows, STEPS * len(inputs)))
        attribution = method.attribute(inputs, start, target=target, n_steps=STEPS, internal_batch_size=steps)
        # completeness: the attributions of an image sum to the difference of the outputs at both ends of the path
        with torch.no_grad():
            each = torch.arange(len(inputs), device=inputs.device)
            expected = function(inputs)[each, target] - function(start)[each, target]
        return attribution.detach().float(), expected

    parts = list(portions.over(len(images), attribute_part))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _exact(model: Explainable, images: Tensor) -> Explainable:
    """A float32 copy of a 16-bit model, because gradients need the precision; other models unchanged.

    A model that cannot be copied or fails in float32 is used unchanged; the conservation check shows the error.
    """
    if not isinstance(model, nn.Module) or not any(
        value.dtype in (torch.float16, torch.bfloat16) for value in model.parameters()
    ):
        return model
    try:
        exact = copy.deepcopy(model).float()
        with torch.no_grad():
            exact.encode(images[:1])
    except (RuntimeError, TypeError, InputError):
        return model
    return exact
