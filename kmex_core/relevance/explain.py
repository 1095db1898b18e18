"""Explanations of images: predictions, similarities, and relevance maps with a check of conservation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kmex_core.base.errors import InputError, KMExError
from kmex_core.networks.loaders import check_images
from kmex_core.relevance.catalogue import AUTO, METHODS
from kmex_core.relevance.method import CannotExplain, Targets
from kmex_core.relevance.protocol import Prototypical
from kmex_core.relevance.types import Explanation, RelevanceMaps


def explain(
    kmex: Prototypical, image: Tensor, prototypes: Sequence[int] | None = None, top: int = 3, method: str = AUTO
) -> Explanation:
    """See `KMEx.explain`. All relevance maps of the image come from one batched pass."""
    image = _checked_images(kmex, image)
    if len(image) != 1:
        raise InputError(f"Expected one image (channels, H, W), got {len(image)} images.")
    with torch.no_grad():
        z = kmex.encode(image)
        distance = kmex.distance(z)
        similarity = kmex.similarity(z)
        black_box = kmex.head(z).softmax(1)
        probability = kmex.posterior(z)
        predicted = int(kmex.predict(z))
    if not bool(similarity.isfinite().all()):
        raise KMExError("The embedding of this image is not finite: check the network's weights and the image.")
    # the requested prototypes, or the nearest ones; in both cases nearest first, like the relevance maps
    order = distance[0].argsort(stable=True)
    ids = order[: max(0, top)] if prototypes is None else _checked_ids(kmex, prototypes)
    ids = ids[distance[0, ids].argsort(stable=True)]
    predicted_black_box = int(black_box.argmax(1))
    # one relevance map per prototype, and the last one for the black box's score
    outputs = torch.cat([ids, torch.tensor([len(kmex.prototypes) + predicted_black_box], device=ids.device)])
    maps = _maps(kmex, image, z, _targets(kmex, torch.zeros_like(outputs), outputs), method)
    nearest = float(distance.min())
    return Explanation(
        black_box=black_box[0].cpu().numpy(),
        kmex=probability[0].cpu().numpy(),
        predicted_black_box=predicted_black_box,
        predicted=predicted,
        calibrated=kmex.temperature is not None,
        distance=distance[0].cpu().numpy(),
        similarity=similarity[0].cpu().numpy(),
        prototypes=ids.cpu().numpy(),
        maps=RelevanceMaps(maps.values[:-1], maps.conservation[:-1], maps.method),
        black_box_map=RelevanceMaps(maps.values[-1:], maps.conservation[-1:], maps.method),
        unusual=nearest > kmex.details.typical_distance,
        distance_rank=float(np.searchsorted(kmex.details.distance_quantiles, nearest, side="right") / 101),
    )


def pair_maps(kmex: Prototypical, images: Tensor, prototypes: Sequence[int], method: str = AUTO) -> RelevanceMaps:
    """See `KMEx.maps`."""
    images = _checked_images(kmex, images)
    ids = _checked_ids(kmex, prototypes)
    if len(ids) != len(images):
        raise InputError(f"Expected one prototype per image ({len(images)}), got {len(ids)}.")
    with torch.no_grad():
        z = kmex.encode(images)
    return _maps(kmex, images, z, _targets(kmex, torch.arange(len(ids), device=ids.device), ids), method)


def class_maps(
    kmex: Prototypical, images: Tensor, classes: Sequence[int], method: str = AUTO
) -> tuple[RelevanceMaps, RelevanceMaps]:
    """See `KMEx.class_maps`."""
    images = _checked_images(kmex, images)
    wrong = [c for c in classes if not 0 <= c < len(kmex.class_names)]
    if wrong or len(classes) != len(images):
        raise InputError(
            f"Expected one class from 0 to {len(kmex.class_names) - 1} for each of {len(images)} images, got "
            f"{list(classes)}."
        )
    with torch.no_grad():
        z = kmex.encode(images)
    each = torch.arange(len(images), device=z.device)
    scores = len(kmex.prototypes) + torch.tensor(list(classes), dtype=torch.int64, device=z.device)
    probabilities = scores + len(kmex.class_names)
    by_kmex = _maps(kmex, images, z, _targets(kmex, each, probabilities), method)
    return by_kmex, _maps(kmex, images, z, _targets(kmex, each, scores), method)


def _targets(kmex: Prototypical, images: Tensor, outputs: Tensor) -> Targets:
    return Targets(images, outputs, len(kmex.prototypes), len(kmex.class_names))


def _checked_images(kmex: Prototypical, images: Tensor) -> Tensor:
    if isinstance(images, Tensor) and images.ndim == 3:
        images = images[None]
    check_images(images, "You gave")
    channels = len(kmex.pixel_range[0]) if kmex.pixel_range is not None else images.shape[1]
    if len(images) == 0 or images.shape[1] != channels:
        raise InputError(f"Expected images (N, {channels}, H, W), got {tuple(images.shape)}.")
    return images.to(kmex.prototypes.device, kmex.prototypes.dtype)


def _checked_ids(kmex: Prototypical, prototypes: Sequence[int]) -> Tensor:
    count = len(kmex.prototypes)
    wrong = [p for p in prototypes if not 0 <= p < count]
    if wrong:
        raise InputError(f"There is no prototype {wrong[0]}; the prototypes are numbered 0 to {count - 1}.")
    return torch.tensor(list(prototypes), dtype=torch.int64, device=kmex.prototypes.device)


def _maps(kmex: Prototypical, images: Tensor, z: Tensor, targets: Targets, method: str) -> RelevanceMaps:
    """One relevance map per target; with `AUTO`, by the first method that can explain the model and these images."""
    candidates = list(METHODS.values()) if method == AUTO else [METHODS.named(method)]
    reasons = []
    for described in candidates:
        maker = described.make()
        if why := maker.why_not(kmex, images.shape[1:]):
            reasons.append(why)
            continue
        try:
            values, expected = maker.maps(kmex, images, z, targets)
        except CannotExplain as reason:
            reasons.append(str(reason))
            continue
        if not bool(values.isfinite().all()):
            raise KMExError(
                f"The relevance maps ({described.name}) of this image are not finite: the computation overflowed."
            )
        # (M,) the sum of each relevance map over its expected sum; 1 is exact
        conservation = values.double().sum((1, 2, 3)) / expected.double()
        return RelevanceMaps(values.sum(1).float().cpu().numpy(), conservation.cpu().numpy(), described.name)
    others = " or ".join(name for name in METHODS if name != method)
    raise InputError(f"{reasons[-1]}{f' Instead of {method}, use {others}.' if others and method != AUTO else ''}")
