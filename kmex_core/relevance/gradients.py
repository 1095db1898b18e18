"""Gradient attribution for encoders that LRP has no rules for (transformers, ConvNeXt, …), with captum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kmex_core.networks.memory import Portions

STEPS = 32
ROWS = 64


def integrated_gradients(
    function: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, baseline: Tensor
) -> tuple[Tensor, Tensor]:
    """Integrated Gradients (Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017).

    The path runs straight from `baseline` to the image, in 32 Gauss-Legendre steps. As many steps and images go through
    the network at once as fit into the memory that is free, `ROWS` at most.

    Args:
        function: images (N, C, H, W) to outputs (N, T).
        images: (N, C, H, W).
        targets: (N,) which output of each image.
        baseline: (1, C, H, W), a black image.

    Returns:
        Attributions (N, C, H, W), and what they should sum to: output of the image less output of the baseline, (N,).
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(function)
    portions = Portions.fitting(function, images, ROWS, backward=True)

    def some(part: slice) -> tuple[Tensor, Tensor]:
        here, target = images[part], targets[part]
        start = baseline.expand_as(here)
        steps = max(len(here), min(portions.rows, STEPS * len(here)))
        attribution = method.attribute(here, start, target=target, n_steps=STEPS, internal_batch_size=steps)
        with torch.no_grad():
            rows = torch.arange(len(here), device=here.device)
            expected = function(here)[rows, target] - function(start)[rows, target]
        return attribution.detach().float(), expected

    parts = list(portions.over(len(images), some))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
