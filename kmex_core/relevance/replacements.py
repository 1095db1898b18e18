"""What takes the place of removed pixels, and where paths of Integrated Gradients begin."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.types import REPLACEMENTS as NAMES

BLUR = 8  # the blur's σ is the side of the image over this


def black(images: Tensor, model: Explainable) -> Tensor:
    """(N, C, H, W) images of the lowest value of each channel, or of these images' lowest if the range is unknown."""
    lowest = images.amin((0, 2, 3)) if model.pixel_range is None else images.new_tensor(model.pixel_range[0])
    return lowest.view(1, -1, 1, 1).expand_as(images)


def mean(images: Tensor, model: Explainable) -> Tensor:
    """(N, C, H, W) images of the mean of each channel in the training data; of 0, which normalisation makes it, if the
    model has none."""
    if model.pixel_mean is None:
        return torch.zeros_like(images)
    return images.new_tensor(model.pixel_mean).view(1, -1, 1, 1).expand_as(images)


def blurred(images: Tensor, model: Explainable) -> Tensor:
    """(N, C, H, W) the images behind a Gaussian blur with σ = shorter side / 8; edges are repeated."""
    sigma = min(images.shape[2:]) / BLUR
    reach = max(1, round(3 * sigma))
    x = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = (-(x**2) / (2 * sigma**2)).exp()
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    channels = images.shape[1]
    # rows, then columns; what lies beyond the edge is the edge
    wide = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(wide, kernel[:, :, None, :], groups=channels)
    return functional.conv2d(rows, kernel[:, :, :, None], groups=channels)


Replacement = Callable[[Tensor, Explainable], Tensor]
REPLACEMENTS: dict[str, Replacement] = dict(zip(NAMES, (black, mean, blurred), strict=True))


def replacements_of(images: Tensor, model: Explainable) -> Tensor:
    """(R, N, C, H, W): what takes the place of images (N, C, H, W), by each of `REPLACEMENTS`."""
    return torch.stack([replace(images, model) for replace in REPLACEMENTS.values()])
