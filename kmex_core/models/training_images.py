"""The training split's pixels, batch by batch: in memory if they fit, on a GPU in its own, and augmented there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.data.preprocessing import Preprocessing
from kmex_core.data.registry import ImageDataset

IN_MEMORY = 256 * 2**20
CARD_SHARE = 4  # of a card's free memory, pixels take at most one part in so many
CROP_PADDING = 2


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of an epoch's random numbers."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def room(device: str) -> int:
    """The most bytes of decoded pixels that are held: on a GPU a share of its free memory."""
    place = torch.device(device)
    return torch.cuda.mem_get_info(place)[0] // CARD_SHARE if place.type == "cuda" else IN_MEMORY


class TrainingImages:
    """The training split's pixels: held decoded on the device if they fit, otherwise decoded in every epoch.

    Attributes:
        labels: (N,) int64.
        pixels: (N, C, S, S) uint8, None where they are not held.

    Args:
        dataset: its "train" split is read.
        device: a torch device.
        preprocessing: of the network.
    """

    def __init__(self, dataset: ImageDataset, device: str, preprocessing: Preprocessing) -> None:
        self.dataset, self.device, self.preprocessing = dataset, device, preprocessing
        self.labels = torch.from_numpy(dataset.split("train").labels)
        shape = (len(self.labels), preprocessing.channels, *preprocessing.size)
        self.pixels = None
        if math.prod(shape) <= room(device):
            self.pixels, start = torch.empty(shape, dtype=torch.uint8, device=device), 0
            for pixels, _ in dataset.batches("train", 64, preprocessing=preprocessing):
                self.pixels[start : start + len(pixels)] = pixels
                start += len(pixels)
            self.labels = self.labels.to(device)

    def steps(self, batch_size: int) -> int:
        """Batches per epoch; a last batch of one image is dropped, since batch normalisation cannot process it."""
        whole, rest = divmod(len(self.labels), batch_size)
        return whole + (rest > 1)

    def epoch(self, epoch: int, seed: int, batch_size: int, augmented: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, in an order of its own.

        Args:
            epoch: its number.
            seed: of the run.
            batch_size: images per batch.
            augmented: whether images are flipped and cropped at random.

        Yields:
            (n, C, S, S) uint8 pixels and (n,) labels, on the device if the pixels are held.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self.labels))
        order = order[: self.steps(batch_size) * batch_size]
        batches = self._batches(order, batch_size)
        if not augmented:
            yield from batches
            return
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        counts = [min(batch_size, len(order) - start) for start in range(0, len(order), batch_size)]
        # the crops of all batches are drawn and moved at once: a GPU waits for each move
        crops = torch.cat([crops_of(count, generator) for count in counts])
        if self.pixels is not None:
            crops = crops.to(self.device)
        for (pixels, labels), part in zip(batches, crops.split(batch_size), strict=True):
            yield cropped(pixels, part), labels

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in their order, without augmentation."""
        yield from self._batches(np.arange(len(self.labels)), batch_size)

    def _batches(self, order: np.ndarray, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self.pixels is None:
            yield from self.dataset.batches("train", batch_size, order, self.preprocessing)
            return
        for part in torch.from_numpy(order).to(self.device).split(batch_size):
            yield self.pixels[part], self.labels[part]


def crops_of(count: int, generator: torch.Generator) -> Tensor:
    """(`count`, 3) int64 on the CPU, so that they are the same for every device: the top and the left side of a crop
    of an image padded with `CROP_PADDING` pixels, and whether it is flipped (0 or 1)."""
    top = torch.randint(0, 2 * CROP_PADDING + 1, (count, 1), generator=generator)
    left = torch.randint(0, 2 * CROP_PADDING + 1, (count, 1), generator=generator)
    flip = torch.rand((count, 1), generator=generator) < 0.5
    return torch.cat([top, left, flip.long()], 1)


def cropped(pixels: Tensor, crops: Tensor) -> Tensor:
    """Flip images, pad them with `CROP_PADDING` black pixels and crop them (paper A.1).

    Args:
        pixels: (N, C, H, W) uint8.
        crops: (N, 3) on the same device, see `crops_of`.

    Returns:
        (N, C, H, W) uint8.
    """
    n, _, height, width = pixels.shape
    padded = nn.functional.pad(pixels, [CROP_PADDING] * 4)
    top, left, flip = crops.split(1, 1)  # (N, 1) each
    across = torch.arange(width, device=pixels.device).expand(n, width)
    rows = top + torch.arange(height, device=pixels.device)
    columns = left + torch.where(flip.bool(), width - 1 - across, across)
    image = torch.arange(n, device=pixels.device)
    return padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
