"""From pixels to a network's input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 as (H, W, `channels`): grey by luminance (ITU-R 601, as Pillow), or grey repeated."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    if (pixels == pixels[..., :1]).all():
        return pixels[..., :1]
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]


def to_pixels(images: Iterable[np.ndarray], channels: int, size: int) -> torch.Tensor:
    """Pictures of any size as the network's pixels, before normalisation.

    Bilinear with antialiasing to a square; the whole picture is kept, so other shapes are squeezed. Data sets and
    uploads share this function: the same picture gives the same pixels. Pictures from an iterator are resized one by
    one, and no two are held at full size.

    Args:
        images: (H, W) or (H, W, 3) uint8 arrays, at least one; sizes may differ.
        channels: 1 or 3.
        size: side of the square in pixels.

    Returns:
        (N, channels, size, size) uint8.
    """
    import torch

    if isinstance(images, np.ndarray):
        shaped = images[..., None] if images.ndim == 3 else images
        if shaped.shape[-1] == channels:
            return _resize(torch.from_numpy(np.ascontiguousarray(shaped)).permute(0, 3, 1, 2), size)
    return torch.cat(
        [
            _resize(torch.from_numpy(np.array(to_channels(image, channels))).permute(2, 0, 1)[None], size)
            for image in images
        ]
    )


def _resize(pixels: torch.Tensor, size: int) -> torch.Tensor:
    import torch

    if pixels.shape[-2:] == (size, size):
        return pixels.contiguous()
    resized = torch.nn.functional.interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def normalise(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """The network's input: (pixels − `mean`) / `std` with pixels in 0…1; greyscale repeated to three channels.

    Args:
        pixels: (N, 1 or 3, H, W) uint8.
        mean, std: one number per channel.

    Returns:
        (N, 3, H, W) float32.
    """
    import torch

    shape = (1, -1, 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32, device=pixels.device).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=pixels.device).view(shape)
    return ((pixels.float() / 255 - centre) / scale).expand(-1, 3, -1, -1)


def pixel_bounds(mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The values of pixels 0 and 1 after `normalise`, for each of three channels: the box of the zB rule."""
    low = [(0 - m) / s for m, s in zip(mean, std, strict=True)]
    high = [(1 - m) / s for m, s in zip(mean, std, strict=True)]
    return tuple(low if len(low) == 3 else low * 3), tuple(high if len(high) == 3 else high * 3)
