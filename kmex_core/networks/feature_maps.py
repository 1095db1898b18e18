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
    """The modules with the last feature maps of different sizes, in order: name, channels and side of each.

    These are the outputs of a network's stages, whatever it calls them: of all square feature maps of one size the
    last, from the size that is pooled upwards. What a module computes on the way from one size to the next smaller one
    (the wide first layers of a bottleneck) is a part of the next stage, and does not count.
    """
    calls: list[tuple[str, int, int, int]] = []  # name, side before and after, channels, in the order of their ends
    pooled: list[int] = []

    def look(name: str, inputs: tuple[object, ...], out: object) -> None:
        before = inputs[0] if inputs else None
        if not isinstance(before, Tensor) or before.ndim != 4:
            return
        if name == pool:
            pooled.append(before.shape[2])
        elif isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] == out.shape[3]:
            calls.append((name, before.shape[2], out.shape[2], out.shape[1]))

    pool = before_pooling(encoder, image_size)
    handles = [
        part.register_forward_hook(lambda _m, inputs, out, name=name: look(name, inputs, out))
        for name, part in encoder.named_modules()
        if name and (name == pool or not isinstance(part, nn.AdaptiveAvgPool2d))
    ]
    _quietly(encoder, handles, image_size)
    # smaller maps than the pooled one are gates (squeeze and excitation), or a norm behind the pooling
    smallest = max(pooled, default=2)
    sizes = sorted({side for _, _, side, _ in calls if side >= smallest})
    smaller = dict(zip(sizes[1:], sizes, strict=False))
    steps = {(name, before) for name, before, side, _ in calls if smaller.get(before) == side}
    last: dict[int, tuple[str, int, int]] = {}
    for name, _, side, channels in calls:
        parents = (name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))
        if side in sizes and not any((parent, side) in steps for parent in parents):
            last[side] = (name, channels, side)
    return [last[side] for side in sizes[:count] if side in last][::-1]


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
