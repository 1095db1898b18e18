"""Preprocessing in torchvision's transforms one after another: recognised as data, where it does the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.data.network_input import normalise, to_pixels
from kmex_core.data.preprocessing import INTERPOLATIONS, Preprocessing

SHAPES = ((61, 83), (97, 64))  # (H, W) of the pictures that both are tried on
LEVELS = 3  # of 255 that resizing in Pillow and in torch may be apart
TO_UNIT = ("ToTensor", "MaybeToTensor", "ConvertImageDtype", "ToDtype")  # to floats from 0 to 1
UNCHANGED = ("ToImage", "PILToTensor", "MaybePILToTensor", "ToPureTensor", "Identity")


def recognised(function: Callable[[Image.Image], Any]) -> Preprocessing | None:
    """What a chain of resizing, cutting out the centre, grey and normalisation does; None for any other function.

    It is tried on two pictures beside the function, which must give nearly the same.

    Args:
        function: from a PIL image to a tensor (channels, H, W), such as torchvision's `Compose`.
    """
    try:
        found = _read(function)
    except (InputError, AttributeError, TypeError, ValueError):
        return None
    if found is None or not all(_same(function, found, shape) for shape in SHAPES):
        return None
    return found


def _read(function: Any) -> Preprocessing | None:
    side: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    channels, inputs, interpolation, antialias = 3, 3, "bilinear", True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    unit = False
    for step in _steps(function):
        kind = type(step).__name__
        if kind == "Resize" and not side and not crop and getattr(step, "max_size", None) is None:
            side, interpolation = _numbers(step.size), str(getattr(step.interpolation, "value", step.interpolation))
            antialias = step.antialias is not False
        elif kind == "CenterCrop" and not crop:
            crop = _numbers(step.size) * (1 if len(_numbers(step.size)) == 2 else 2)
        elif kind == "Grayscale" and not unit:
            channels, inputs = 1, int(step.num_output_channels)
        elif kind in TO_UNIT and getattr(step, "scale", True):
            unit = True
        elif kind == "Normalize" and unit and not mean:
            mean, std = _floats(step.mean), _floats(step.std)
        elif kind not in UNCHANGED:
            return None
    if not unit or interpolation not in INTERPOLATIONS or not side or (len(side) == 1) != bool(crop):
        return None
    if channels == 1:  # one mean, even where grey is repeated
        mean, std = mean[:1] if len(set(mean)) < 2 else mean, std[:1] if len(set(std)) < 2 else std
    height, width = crop or side
    return Preprocessing(
        height,
        width,
        channels,
        mean or (0.0,) * channels,
        std or (1.0,) * channels,
        "shorter" if crop else "squeeze",
        side[0] if crop else 0,
        interpolation,
        antialias,
        inputs=inputs,
    )


def _steps(function: Any) -> Iterator[Any]:
    inside = getattr(function, "transforms", None)
    if isinstance(function, nn.Sequential):
        inside = list(function)
    if not isinstance(inside, list | tuple | nn.ModuleList) or inspect.isroutine(function):
        yield function
        return
    for step in inside:
        yield from _steps(step)


def _numbers(size: Any) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(map(int, size))


def _floats(values: Any) -> tuple[float, ...]:
    listed = np.asarray(values, dtype=np.float64).reshape(-1)
    return tuple(round(float(value), 7) for value in listed)


def _same(function: Callable[[Image.Image], Any], found: Preprocessing, shape: tuple[int, int]) -> bool:
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = np.stack([np.sin(x / 5 + y / 9), np.cos(x / 11), np.sin(y / 4)], -1)
    picture = (127.5 + 120 * waves).astype(np.uint8)
    try:
        mine: Any = function(Image.fromarray(picture))
    except Exception:  # the user's own code
        return False
    theirs = normalise(to_pixels([picture], found), found)[0]
    if not isinstance(mine, Tensor) or mine.shape != theirs.shape or not mine.is_floating_point():
        return False
    allowed = LEVELS / 255 / torch.tensor(found.std).float().view(-1, 1, 1)
    return bool(((mine - theirs).abs() <= allowed).all())
