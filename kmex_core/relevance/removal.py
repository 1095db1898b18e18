"""Deletion and insertion of pixels in an order: does a relevance map find the pixels that the decision rests on?

Named as in Samek et al. (TNNLS 2017) and Petsiuk et al. (RISE, BMVC 2018); Quantus calls deletion Pixel-Flipping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kmex_core.networks.memory import Portions
from kmex_core.relevance.choices import of_classes
from kmex_core.relevance.protocol import Prototypical

SHARES = tuple(step / 20 for step in range(1, 11))  # 5 to 50% of the pixels


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
    each = torch.arange(len(images), device=images.device)

    def outcome(z: Tensor, image: Tensor) -> Tensor:
        margin = class_margin(model, z, predicted[image])
        return torch.stack([(model.predict(z) == predicted[image]).to(margin.dtype), margin], 1)

    found = without(model, images, ranks, replacements, shares, outcome, rows, insertion).permute(0, 2, 1, 3, 4)
    with torch.no_grad():
        whole = outcome(model.encode(images), each)[:, 1].clamp(min=1e-12)
    same, margin = found[..., 0] > 0, found[0, ..., 1]
    return Removal(same[0], same[1] if insertion else same[0][:, :, :0], margin / whole[:, None, None])


def without(
    model: Prototypical,
    images: Tensor,
    ranks: Tensor,
    replacements: Sequence[Tensor],
    shares: Sequence[float],
    outcome: Callable[[Tensor, Tensor], Tensor],
    rows: int = 256,
    insertion: bool = True,
) -> Tensor:
    """(1 or 2, R, N, S, V): what comes out when the first pixels of an order are deleted and, second, inserted.

    Args:
        model, images, ranks, replacements, shares, rows, insertion: see `removal`.
        outcome: V numbers, (n, V), of embeddings (n, D), and of which images (n,) they are.
    """
    pixels = ranks.shape[1]
    counts = torch.tensor([max(1, round(share * pixels)) for share in shares], device=images.device)
    stacked = torch.stack(list(replacements))
    shape = (2 if insertion else 1, len(stacked), len(images), len(counts))
    total = torch.Size(shape).numel()

    def part_of(part: slice) -> Tensor:
        row = torch.arange(part.start, min(part.stop, total), device=images.device)
        share, image = row % shape[3], row // shape[3] % shape[2]
        replacement, side = row // (shape[3] * shape[2]) % shape[1], row // (shape[3] * shape[2] * shape[1])
        original, other, rank = images[image], stacked[replacement, image], ranks[image]
        # deletion keeps what is not among the first pixels, insertion only these
        upper = torch.where((side == 0)[:, None, None, None], other, original)
        lower = torch.where((side == 0)[:, None, None, None], original, other)
        return outcome(model.encode(keep_pixels(upper, lower, rank, counts[share])), image)

    with torch.no_grad():
        portions = Portions.fitting(model.encoder, images, rows)
        return torch.cat(list(portions.over(total, part_of))).unflatten(0, shape)
