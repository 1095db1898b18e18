"""The feature maps of an encoder: the module that pools the last one, and the modules that compute the last ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def before_pooling(encoder: nn.Module, image_size: int) -> str:
    """The dotted name of the global pooling before the embedding; "" if there is none (VGG, transformers)."""
    pool = ""
    pools = {name: part for name, part in encoder.named_modules() if isinstance(part, nn.AdaptiveAvgPool2d)}
    pooled: dict[str, Tensor] = {}
    handles = [
        part.register_forward_hook(lambda _m, _i, out, name=name: pooled.__setitem__(name, out))
        for name, part in pools.items()
    ]
    z = _quietly(encoder, handles, image_size)
    for name, out in pooled.items():
        if out.flatten(1).shape == z.shape and torch.equal(out.flatten(1), z):
            pool = name
    return pool


def last_maps(encoder: nn.Module, image_size: int, count: int = 2) -> list[tuple[str, int, int]]:
    """The modules with the last feature maps of different sizes, in order: name, channels and side of each."""
    seen: dict[int, tuple[str, int, int]] = {}

    def look(name: str, out: object) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] == out.shape[3]:
            seen[out.shape[2]] = (name, out.shape[1], out.shape[2])

    pool = before_pooling(encoder, image_size)
    handles = [
        part.register_forward_hook(lambda _m, _i, out, name=name: look(name, out))
        for name, part in encoder.named_modules()
        if name and name != pool and not isinstance(part, nn.AdaptiveAvgPool2d)
    ]
    _quietly(encoder, handles, image_size)
    return sorted(seen.values(), key=lambda feature_map: -feature_map[2])[-count:]


def _quietly(encoder: nn.Module, handles: Sequence[RemovableHandle], image_size: int) -> Tensor:
    modes = [(part, part.training) for part in encoder.modules()]
    try:
        with torch.no_grad():
            z: Tensor = encoder.eval()(torch.rand(2, 3, image_size, image_size))
    finally:
        for handle in handles:
            handle.remove()
        for part, mode in modes:
            part.training = mode
    return z
