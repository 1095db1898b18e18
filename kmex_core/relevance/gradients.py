"""Gradient attribution for encoders that LRP has no rules for (transformers, ConvNeXt, …), with captum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 32
BATCH = 64


def integrated_gradients(
    function: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, baseline: Tensor
) -> tuple[Tensor, Tensor]:
    """Integrated Gradients (Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017).

    The path runs straight from `baseline` to the image, in 32 Gauss-Legendre steps.

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
    start = baseline.expand_as(images)
    attribution = method.attribute(images, start, target=targets, n_steps=STEPS, internal_batch_size=BATCH)
    with torch.no_grad():
        rows = torch.arange(len(images), device=images.device)
        expected = function(images)[rows, targets] - function(start)[rows, targets]
    return attribution.detach().float(), expected
