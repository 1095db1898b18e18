"""Parts of baselines for any backbone: its encoder, inserted modules, and a decoder."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from kmex_core.networks import architectures, splitting


def encoder_of(backbone: str, classes: int, image_size: int, imagenet: bool = False) -> tuple[nn.Module, int]:
    """A backbone up to its head, (N, 3, S, S) to (N, D), and D."""
    return splitting.trunk(architectures.build(backbone, classes, image_size, imagenet))


def insert_before(encoder: nn.Module, name: str, extra: nn.Module) -> None:
    """Put `extra` before the module of this dotted name."""
    parent, _, last = name.rpartition(".")
    holder = encoder.get_submodule(parent)
    setattr(holder, last, nn.Sequential(extra, holder.get_submodule(last)))


class Decoder(nn.Module):
    """Embeddings to pixels: a Linear layer to small feature maps, then transposed convolutions that double the side.

    Args:
        dimensions: D.
        image_size: S; the feature maps start at the smallest side ≥ 4 that doubles to at least S.
        width: channels of the first feature maps; halved at each doubling, down to 16.
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
