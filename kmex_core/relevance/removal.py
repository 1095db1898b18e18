"""Deletion and insertion of pixels in an order: does a relevance map find the pixels that the decision rests on?

Named as in Samek et al. (TNNLS 2017) and Petsiuk et al. (RISE, BMVC 2018); Quantus calls deletion Pixel-Flipping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kmex_core.networks.memory import Portions
from kmex_core.relevance.choices import of_classes
from kmex_core.relevance.protocol import Prototypical

SHARES = tuple(step / 20 for step in range(1, 11))  # 5 to 50 % of the pixels


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


@dataclass(frozen=True, eq=False)
class Removal:
    """What is left of the decision on N images, for R replacements of removed pixels and S shares of pixels.

    Attributes:
        kept: (N, R, S) bool, the image keeps its class when these pixels are replaced (deletion; low is better).
        inserted: (N, R, S) bool, it has its class when all but these are replaced (insertion; high is better).
        margin: (N, R, S) the class's margin after deletion as a share of the whole image's; low is better.
    """

    kept: Tensor
    inserted: Tensor
    margin: Tensor


def class_margin(model: Prototypical, z: Tensor, classes: Tensor) -> Tensor:
    """(N,) how much nearer the nearest prototype of a class (N,) is than that of any other class, in squared distances;
    for similarities without a distance, how much higher the class's score is."""
    each = torch.arange(len(z), device=z.device)
    return of_classes("margin", model, each, z, classes).values(model, z)


def removal(
    model: Prototypical,
    images: Tensor,
    predicted: Tensor,
    ranks: Tensor,
    replacements: Sequence[Tensor],
    shares: Sequence[float] = SHARES,
    rows: int = 256,
    insertion: bool = True,
) -> Removal:
    """Delete and insert the first pixels of an order.

    Args:
        model: that decides.
        images: (N, C, H, W).
        predicted: (N,) the classes it gives them.
        ranks: (N, H·W), 0 for the pixel that is removed first, see `relevance_rank`.
        replacements: R of (N, C, H, W), what takes the place of removed pixels.
        shares: S shares of the pixels.
        rows: the most images in one pass.
        insertion: whether to insert, too; otherwise `inserted` is empty.
    """
    count, pixels = len(images), ranks.shape[1]
    counts = torch.tensor([max(1, round(share * pixels)) for share in shares], device=images.device)
    stacked = torch.stack(list(replacements))
    sides = 2 if insertion else 1
    shape = (sides, len(stacked), count, len(counts))
    total = torch.Size(shape).numel()

    def outcome(part: slice) -> tuple[Tensor, Tensor]:
        row = torch.arange(part.start, min(part.stop, total), device=images.device)
        share, image = row % shape[3], row // shape[3] % count
        replacement, side = row // (shape[3] * count) % shape[1], row // (shape[3] * count * shape[1])
        original, other, rank = images[image], stacked[replacement, image], ranks[image]
        # deletion keeps what is not among the first pixels, insertion only these
        upper = torch.where((side == 0)[:, None, None, None], other, original)
        lower = torch.where((side == 0)[:, None, None, None], original, other)
        z = model.encode(keep_pixels(upper, lower, rank, counts[share]))
        return model.predict(z) == predicted[image], class_margin(model, z, predicted[image])

    with torch.no_grad():
        portions = Portions.fitting(model.encoder, images, rows)
        parts = list(portions.over(total, outcome))
        whole = class_margin(model, model.encode(images), predicted)
    same = torch.cat([part[0] for part in parts]).view(shape).permute(0, 2, 1, 3)
    margin = torch.cat([part[1] for part in parts]).view(shape).permute(0, 2, 1, 3)
    inserted = same[1] if insertion else same[0][:, :, :0]
    return Removal(same[0], inserted, margin[0] / whole.clamp(min=1e-12)[:, None, None])
