"""What the baselines need of any backbone: its last maps before pooling, and maps on the way there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kmex_core import backbones


def encoder_of(backbone: str, classes: int, image_size: int, imagenet: bool = False) -> tuple[nn.Module, int]:
    """A backbone up to its head, (N, 3, S, S) to (N, D), and D."""
    return backbones.trunk(backbones.build(backbone, classes, image_size, imagenet))


def before_pooling(encoder: nn.Module, image_size: int) -> str:
    """The dotted name of the global pooling that makes the embedding; "" where there is none (VGG, transformers)."""
    found = ""
    pools = {name: part for name, part in encoder.named_modules() if isinstance(part, nn.AdaptiveAvgPool2d)}
    pooled: dict[str, Tensor] = {}
    handles = [
        part.register_forward_hook(lambda _m, _i, out, name=name: pooled.__setitem__(name, out))
        for name, part in pools.items()
    ]
    z = _quietly(encoder, handles, image_size)
    for name, out in pooled.items():
        if out.flatten(1).shape == z.shape and torch.equal(out.flatten(1), z):
            found = name
    return found


def insert_before(encoder: nn.Module, name: str, extra: nn.Module) -> None:
    """Put `extra` before the module of this dotted name."""
    parent, _, last = name.rpartition(".")
    holder = encoder.get_submodule(parent)
    setattr(holder, last, nn.Sequential(extra, holder.get_submodule(last)))


def last_maps(encoder: nn.Module, image_size: int, count: int = 2) -> list[tuple[str, int, int]]:
    """The modules that give the last maps of different sizes, the later last: name, channels and side of each."""
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
    return sorted(seen.values(), key=lambda one: -one[2])[-count:]


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


class Decoder(nn.Module):
    """Embeddings to pixels: a Linear layer to small maps, then transposed convolutions that double the side.

    Args:
        dimensions: D.
        image_size: S; the maps start at the smallest side of 4 or more that doubles to S or above.
        width: channels of the first maps; they are halved at each doubling, down to 16.
    """

    def __init__(self, dimensions: int, image_size: int, width: int) -> None:
        super().__init__()
        doublings = 0
        while -(-image_size // 2 ** (doublings + 1)) >= 4:
            doublings += 1
        self.side, self.image_size = -(-image_size // 2**doublings), image_size
        channels = [max(16, width // 2**step) for step in range(doublings + 1)]
        self.first = nn.Linear(dimensions, channels[0] * self.side**2)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.rest = nn.Sequential(*layers, nn.Conv2d(channels[-1], 3, 3, padding=1), nn.Sigmoid())
        self.channels = channels[0]

    def forward(self, z: Tensor) -> Tensor:
        """(N, D) to (N, 3, S, S) pixels 0…1."""
        maps = self.first(z).relu().view(len(z), self.channels, self.side, self.side)
        size = self.image_size
        pixels: Tensor = self.rest(maps)[:, :, :size, :size]
        return pixels
