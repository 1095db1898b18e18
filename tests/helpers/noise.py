"""Random images in batches, for networks that need no real ones."""

from __future__ import annotations

import torch
from torch import Tensor


def batches(count: int = 23, size: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Images (n, 3, 16, 16) and labels 0 to 9 in turn, the same ones each time."""
    images = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return list(zip(images.split(size), (torch.arange(count) % 10).split(size), strict=True))
