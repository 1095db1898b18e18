"""One image explained: predictions, similarities, and relevance maps that are checked before they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kmex_core.errors import InputError, KMExError
from kmex_core.relevance.gradients import integrated_gradients
from kmex_core.relevance.lrp import class_relevance, has_rules, lrp_of
from kmex_core.relevance.prp import similarity_relevance
from kmex_core.results import Explanation

if TYPE_CHECKING:
    from kmex_core.kmex import KMEx

METHODS = ("auto", "prp", "integrated_gradients")
ROWS = 64


def explain(
    kmex: KMEx, image: Tensor, prototypes: Sequence[int] | None = None, top: int = 3, method: str = "auto"
) -> Explanation:
    """See `KMEx.explain`. All maps of the image come from one batched pass."""
    image = _checked(kmex, image)
    chosen_method = _chosen_method(kmex, method)
    with torch.no_grad():
        z = kmex.encode(image)
        distance = kmex.distance(z)
        similarity = kmex.similarity(z)
        black_box = kmex.head(z).softmax(1)
        probability = kmex.probabilities(similarity)
    if not bool(similarity.isfinite().all()):
        raise KMExError("The network gives no finite embedding for this image: its weights or the image are broken.")
    order = distance[0].argsort(stable=True)
    ids = order[: max(0, top)] if prototypes is None else _checked_ids(kmex, prototypes).to(order.device)
    if prototypes is not None:
        ids = ids[similarity[0, ids].argsort(descending=True, stable=True)]
    predicted_black_box = int(black_box.argmax(1))
    maps, expected = _maps(kmex, image, z, similarity, ids, predicted_black_box, chosen_method)
    sums = maps.double().sum((1, 2, 3))
    conservation = (sums / expected.double()).cpu().numpy()
    summed = maps.sum(1).cpu().numpy()
    nearest = float(distance.min())
    return Explanation(
        black_box=black_box[0].cpu().numpy(),
        kmex=probability[0].cpu().numpy(),
        predicted_black_box=predicted_black_box,
        predicted=int(kmex.prototype_class[order[0]]),
        distance=distance[0].cpu().numpy(),
        similarity=similarity[0].cpu().numpy(),
        prototypes=ids.cpu().numpy(),
        maps=summed[:-1],
        method=chosen_method,
        conservation=conservation[:-1],
        black_box_map=summed[-1],
        black_box_conservation=float(conservation[-1]),
        unusual=nearest > kmex.details.typical_distance,
        distance_rank=float(np.searchsorted(kmex.details.distance_quantiles, nearest, side="right") / 101),
    )


def _checked(kmex: KMEx, image: Tensor) -> Tensor:
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or len(image) != 1:
        raise InputError(f"One image (channels, H, W) was expected, got {tuple(image.shape)}.")
    return image.to(kmex.prototypes.device, torch.float32)


def _checked_ids(kmex: KMEx, prototypes: Sequence[int]) -> Tensor:
    count = len(kmex.prototypes)
    wrong = [p for p in prototypes if not 0 <= p < count]
    if wrong:
        raise InputError(f"There is no prototype {wrong[0]}; they are numbered 0 to {count - 1}.")
    return torch.tensor(list(prototypes), dtype=torch.int64)


def _chosen_method(kmex: KMEx, method: str) -> str:
    if method not in METHODS:
        raise InputError(f"There is no method '{method}'; known: {', '.join(METHODS)}.")
    rules = kmex.pixel_range is not None and has_rules(kmex.encoder)
    if method == "prp" and not rules:
        raise InputError(
            f"PRP has no rules for {type(kmex.encoder).__name__}: they hold for the ResNet and VGG families. Use "
            "integrated_gradients."
        )
    if method == "auto":
        return "prp" if rules else "integrated_gradients"
    return method


def _maps(
    kmex: KMEx, image: Tensor, z: Tensor, similarity: Tensor, ids: Tensor, black_box: int, method: str
) -> tuple[Tensor, Tensor]:
    """Maps (M + 1, C, H, W) for M prototypes and the black box's class score, and what each should sum to (M + 1,)."""
    target = torch.tensor([black_box], device=z.device)
    if method == "prp":
        assert kmex.pixel_range is not None
        relevance = torch.cat(
            [
                similarity_relevance(z.expand(len(ids), -1), kmex.prototypes[ids], similarity[0, ids]),
                class_relevance(kmex.head, z, target),
            ]
        )
        lrp = lrp_of(kmex.encoder, *kmex.pixel_range)
        parts = [lrp.maps(image.expand(len(part), -1, -1, -1), part) for part in relevance.split(ROWS)]
        return torch.cat(parts), relevance.sum(1)

    count = len(kmex.prototypes)

    def outputs(images: Tensor) -> Tensor:
        embedding = kmex.encode(images)
        return torch.cat([kmex.similarity(embedding), kmex.head(embedding)], 1)

    low = kmex.pixel_range[0] if kmex.pixel_range is not None else [float(image.min())] * image.shape[1]
    baseline = torch.tensor(low, device=image.device, dtype=image.dtype).view(1, -1, 1, 1).expand_as(image)
    targets = torch.cat([ids, target + count])
    return integrated_gradients(outputs, image.expand(len(targets), -1, -1, -1), targets, baseline)
