"""Verdicts on single relevance maps: do the pixels on top carry the decision, and does the map depend on the rival?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kmex_core.relevance.catalogue import METHODS, TARGETS, MapKind
from kmex_core.relevance.choices import of_prototypes
from kmex_core.relevance.protocol import Prototypical
from kmex_core.relevance.removal import class_margin, keep_pixels, relevance_rank, without
from kmex_core.relevance.replacements import replacements_of
from kmex_core.relevance.types import JUDGED, MapVerdict

TOP = 0.1
ROUNDING = 1e-5  # equal maps are not specific by a hair
ORDERS = 5


def second_rivals(model: Prototypical, z: Tensor, prototypes: Tensor, rivals: Tensor) -> Tensor | None:
    """(M,) the nearest prototype of the nearest class that neither `prototypes` nor `rivals` (M,) belong to; None with
    fewer than three classes.

    Args:
        model, prototypes, rivals: see `Prototypical.rivals`.
        z: (M, D) the embeddings.
    """
    of_class = model.prototype_class
    taken = (of_class[prototypes][:, None] == of_class) | (of_class[rivals][:, None] == of_class)
    if bool(taken.all(1).any()):
        return None
    return model.distance(z).masked_fill(taken, torch.inf).argmin(1)


def specificity(
    model: Prototypical,
    images: Tensor,
    prototypes: Tensor,
    rivals: tuple[Tensor, Tensor],
    ranks: tuple[Tensor, Tensor],
    replacements: Sequence[Tensor],
) -> Tensor:
    """(M,) how much more the maps of two rivals hurt their own margin than the other's, averaged over replacements.

    S = ½ [(f₁(x∖A₂) − f₁(x∖A₁)) / f₁(x) + (f₂(x∖A₁) − f₂(x∖A₂)) / f₂(x)], with f₁ and f₂ the margins of the prototype
    against the two rivals, A₁ and A₂ their maps, and x∖A the image with the top tenth of A's pixels replaced. Above 0,
    each map finds the pixels of its own rival; maps that do not depend on the rival give 0.

    Args:
        model: that decides.
        images: (M, C, H, W).
        prototypes, rivals: (M,) each, by index.
        ranks: (M, H·W) of both maps, see `relevance_rank`.
        replacements: of the images, (M, C, H, W) each.
    """
    counts = torch.full((len(images),), max(1, round(TOP * ranks[0].shape[1])), device=images.device)
    with torch.no_grad():
        # all images without the top pixels of either map, by replacement: 2 R M rows
        seen = [keep_pixels(other, images, rank, counts) for other in replacements for rank in ranks]
        z = model.encode(torch.cat([images, *seen])).view(1 + len(seen), len(images), -1)
        first, second = (torch.stack([model.margin(each, prototypes, rival) for each in z]) for rival in rivals)
        without_one, without_other = slice(1, None, 2), slice(2, None, 2)
        own = (first[without_other] - first[without_one]) / first[0]
        others = (second[without_one] - second[without_other]) / second[0]
    found = ((own + others) / 2).mean(0)
    return found.masked_fill(found.abs() < ROUNDING, 0.0)


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """(M,) cosine between relevance maps (M, C, H, W), channels summed."""
    return torch.nn.functional.cosine_similarity(one.sum(1).flatten(1), other.sum(1).flatten(1))


def verdicts(
    model: Prototypical, image: Tensor, z: Tensor, maps: Tensor, prototypes: Tensor, rivals: Tensor, kind: MapKind
) -> tuple[MapVerdict, ...]:
    """A verdict on each of M relevance maps of an image.

    Args:
        model: that decides.
        image: (1, C, H, W).
        z: (1, D) its embedding.
        maps: (M, C, H, W), of `prototypes` against `rivals`, (M,) each by index; a map of a target without a rival is
            compared with itself.
        kind: of the maps.
    """
    count, classes = len(maps), model.prototype_class[prototypes]
    labels, label_of = classes.unique(return_inverse=True)
    ranks = relevance_rank(maps)
    random = [torch.randperm(ranks.shape[1], generator=torch.Generator().manual_seed(seed)) for seed in range(ORDERS)]
    # each image without pixels passes the encoder once, for the margins of all classes: by the maps, in random orders
    # and by brightness
    orders = torch.cat([ranks, torch.stack(random).to(ranks.device), relevance_rank(image)])

    def margins(z: Tensor, _: Tensor) -> Tensor:
        return torch.stack([class_margin(model, z, label.expand(len(z))) for label in labels], 1)

    replacements = replacements_of(image, model)
    alike = [image.expand(len(orders), -1, -1, -1), *replacements.expand(-1, len(orders), -1, -1, -1)]
    left = without(model, alike[0], orders, alike[1:], JUDGED, margins, insertion=False)[0]
    with torch.no_grad():
        whole = margins(z, label_of)[0]
    left = (left / whole.clamp(min=1e-12)).cpu()
    images, embedded = image.expand(count, -1, -1, -1), z.expand(count, -1)
    others = list(replacements.expand(-1, count, -1, -1, -1))
    dependence = _dependence(model, images, embedded, maps, ranks, prototypes, rivals, kind, others)
    return tuple(
        MapVerdict(
            margin=left[:, row, :, label].numpy() if whole[label] > 0 else None,
            random=left[:, count:-1, :, label].mean(1).numpy(),
            brightness=left[:, -1, :, label].numpy(),
            cosine=None if dependence is None else float(dependence[0][row]),
            specificity=None if dependence is None else float(dependence[1][row]),
        )
        for row, label in enumerate(label_of.tolist())
    )


def _dependence(
    model: Prototypical,
    images: Tensor,
    z: Tensor,
    maps: Tensor,
    ranks: Tensor,
    prototypes: Tensor,
    rivals: Tensor,
    kind: MapKind,
    replacements: Sequence[Tensor],
) -> tuple[Tensor, Tensor] | None:
    """(M,) the cosine between each map and that of the second rival, and the specificity; None with two classes."""
    nearest = model.rivals(z, prototypes) if not TARGETS[kind.target].has_rival else rivals
    second = second_rivals(model, z, prototypes, nearest)
    if second is None:
        return None
    if not TARGETS[kind.target].has_rival:
        return torch.ones_like(z[:, 0]), torch.zeros_like(z[:, 0])
    targets = of_prototypes(kind.target, model, torch.zeros_like(prototypes), z, prototypes, second)
    others = METHODS[kind.method].make().maps(model, images[:1], z[:1], targets).values
    specific = specificity(model, images, prototypes, (nearest, second), (ranks, relevance_rank(others)), replacements)
    return cosine(maps, others), specific
