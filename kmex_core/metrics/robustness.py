"""Robustness of relevance maps: similarities and predictions when pixels are removed (paper 4.1.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEAST = 0.5
ROUNDING = 1e-5


def relevance_rank(relevance: Tensor) -> Tensor:
    """(N, channels, H, W) relevance to (N, H·W) int64 ranks: 0 for the most relevant pixel.

    Channels are summed. Equally relevant pixels keep their order, row by row.
    """
    # rank = inverse permutation of the descending order, (N, H·W); scatter_ works batched on any device
    order = relevance.sum(1).flatten(1).argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )


def keep_pixels(images: Tensor, baseline: Tensor, rank: Tensor, counts: Tensor) -> Tensor:
    """Images with all but the most relevant pixels replaced.

    Args:
        images: (N, channels, H, W).
        baseline: (channels, H, W), the replacement of the other pixels.
        rank: (N, H·W), 0 for the most relevant.
        counts: (N,) number of pixels to keep.

    Returns:
        (N, channels, H, W).
    """
    mask = (rank < counts[:, None]).view(len(images), 1, *images.shape[2:])
    return torch.where(mask, images, baseline)


def average_drop(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """AD: the share of a score lost without the least relevant pixels, max(0, s − s') / s, 0…1, lower is better.

    Args:
        before: s, any shape.
        after: s', the same shape, of the images with only their most relevant pixels.

    Returns:
        The drop of each; NaN where s ≤ 0, since a share of it is meaningless.
    """
    before, after = before.astype(np.float64), after.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0, np.maximum(0, before - after) / before, np.nan)


def average_increase(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """AI: whether a score grows without the least relevant pixels, [s' > s], 0 or 1, higher is better.

    The increase must exceed `ROUNDING` of s: if the removed pixels equal their replacement, s' differs from s only by
    float32 rounding.

    Args:
        before, after: see `average_drop`.

    Returns:
        float64, the same shape.
    """
    before = before.astype(np.float64)
    return (after - before > ROUNDING * np.abs(before)).astype(np.float64)
