"""From pixels to a network's input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from kmex_core.base.errors import InputError
from kmex_core.data.preprocessing import Preprocessing

if TYPE_CHECKING:
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


def to_pixels(images: Iterable[np.ndarray], preprocessing: Preprocessing) -> torch.Tensor:
    """Pictures of any size as the network's pixels, before normalisation.

    Data sets and uploads share this function: the same picture gives the same pixels. Pictures from an iterator are
    resized one by one, and no two are held at full size.

    Args:
        images: (H, W) or (H, W, 3) uint8 arrays, at least one; sizes may differ.
        preprocessing: the network's.

    Returns:
        (N, channels, height, width) uint8.
    """
    import torch

    channels = preprocessing.channels
    if isinstance(images, np.ndarray):
        shaped = images[..., None] if images.ndim == 3 else images
        if shaped.shape[-1] == channels:
            return _placed(torch.from_numpy(np.ascontiguousarray(shaped)).permute(0, 3, 1, 2), preprocessing)
    return torch.cat(
        [
            _placed(torch.from_numpy(np.array(to_channels(image, channels))).permute(2, 0, 1)[None], preprocessing)
            for image in images
        ]
    )


def _placed(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """(N, channels, h, w) as (N, channels, height, width); black where the input is larger than the picture."""
    import torch

    place = preprocessing.placed((pixels.shape[-2], pixels.shape[-1]))
    pixels = _resized(pixels, place.sides, preprocessing)
    (height, width), (h, w) = preprocessing.size, place.sides
    left, top = max(0, -place.left), max(0, -place.top)
    right, bottom = max(0, place.left + width - w), max(0, place.top + height - h)
    if left or top or right or bottom:
        pixels = torch.nn.functional.pad(pixels, (left, right, top, bottom))
    y, x = max(0, place.top), max(0, place.left)
    return pixels[..., y : y + height, x : x + width].contiguous()


def _resized(pixels: torch.Tensor, sides: tuple[int, int], preprocessing: Preprocessing) -> torch.Tensor:
    import torch

    if pixels.shape[-2:] == sides:
        return pixels.contiguous()
    mode = preprocessing.interpolation
    if mode == "nearest":
        return torch.nn.functional.interpolate(pixels, sides, mode="nearest-exact")
    # cubic weights overshoot: on integers torch clips after each direction, as Pillow does
    given = pixels if mode == "bicubic" else pixels.float()
    if sides[1] == 1:  # torch 2.15 with antialiasing repeats the first row of floats: rows and columns are swapped
        swapped = torch.nn.functional.interpolate(given.mT, sides[::-1], mode=mode, antialias=preprocessing.antialias)
        resized = swapped.mT
    else:
        resized = torch.nn.functional.interpolate(given, sides, mode=mode, antialias=preprocessing.antialias)
    return resized.round_().clamp_(0, 255).to(torch.uint8) if resized.is_floating_point() else resized


def normalise(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """The network's input: (white · pixels − mean) / std with pixels in 0…1, in the network's order of channels;
    greyscale is repeated for a network of three input channels.

    Args:
        pixels: (N, channels, H, W) uint8.
        preprocessing: the network's.

    Returns:
        (N, inputs, H, W) float32.
    """
    return normaliser(preprocessing, pixels.device)(pixels)


def normaliser(preprocessing: Preprocessing, device: str | torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """`normalise` of pixels on one device. Its constants are moved there once: a GPU waits for each such move."""
    import torch

    shape = (1, -1, 1, 1)
    centre = torch.tensor(preprocessing.mean, dtype=torch.float32, device=device).view(shape)
    scale = torch.tensor(preprocessing.std, dtype=torch.float32, device=device).view(shape)

    def normalised(pixels: torch.Tensor) -> torch.Tensor:
        if preprocessing.order == "BGR":
            pixels = pixels.flip(1)
        values = pixels.to(torch.float32, copy=True).div_(255)  # in place: this takes as long as memory does
        if preprocessing.white != 1:
            values.mul_(preprocessing.white)
        return values.sub_(centre).div_(scale).expand(-1, preprocessing.inputs, -1, -1)

    return normalised


def pictures_of(images: torch.Tensor, preprocessing: Preprocessing) -> tuple[np.ndarray, float]:
    """Pictures that a preprocessing makes a network's input of, which is `normalise` undone.

    Where it cuts the centre out, there is a margin around it, with the values at its border.

    Args:
        images: (N, inputs, height, width) floats.
        preprocessing: what they were made with.

    Returns:
        (N, H, W) or (N, H, W, 3) uint8, and how far the values were from whole levels 0…255, at most.

    Raises:
        InputError: where the margin would have to be inside.
    """
    import torch

    shape = (1, -1, 1, 1)
    mean = torch.tensor(preprocessing.mean, dtype=torch.float64).view(shape)
    std = torch.tensor(preprocessing.std, dtype=torch.float64).view(shape)
    values = images[:, : preprocessing.channels].detach().cpu().double() * std + mean
    levels = values * (255 / preprocessing.white)
    rounded = levels.round().clamp_(0, 255)
    away = float((levels - rounded).abs().max())
    if preprocessing.order == "BGR":
        rounded = rounded.flip(1)
    pixels = rounded.to(torch.uint8).permute(0, 2, 3, 1).numpy()
    if preprocessing.resize == "shorter":
        if preprocessing.shorter < min(preprocessing.size):
            raise InputError("A preprocessing that cuts out more than the whole picture cannot be undone.")
        margins = [max(0, preprocessing.shorter - side) for side in preprocessing.size]
        before = [round(margin / 2.0) for margin in margins]
        around = [(first, margin - first) for first, margin in zip(before, margins, strict=True)]
        pixels = np.pad(pixels, [(0, 0), *around, (0, 0)], mode="edge")
    return (pixels[..., 0] if preprocessing.channels == 1 else pixels), away


def unit_pixels(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Pixels 0…1 in the shape of the network's input, (N, inputs, H, W) float32."""
    return (pixels.float() / 255).expand(-1, preprocessing.inputs, -1, -1)


def pixel_bounds(preprocessing: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The values of pixels 0 and 1 after `normalise`, for each input channel: the box of the zB rule."""
    pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
    low = tuple((0 - m) / s for m, s in pairs)
    high = tuple((preprocessing.white - m) / s for m, s in pairs)
    repeat = preprocessing.inputs // preprocessing.channels
    return low * repeat, high * repeat
