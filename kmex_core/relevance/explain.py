"""Images explained: predictions, similarities, and relevance maps that are checked before they are shown."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kmex_core.base.errors import InputError, KMExError
from kmex_core.networks.loaders import check_images
from kmex_core.networks.memory import Portions
from kmex_core.relevance.gradients import integrated_gradients
from kmex_core.relevance.layers import NoRules
from kmex_core.relevance.lrp import LRP_COPIES, class_relevance, has_rules, lrp_of, no_rules
from kmex_core.relevance.protocol import Prototypical
from kmex_core.relevance.types import Explanation, RelevanceMaps

METHODS = ("auto", "prp", "integrated_gradients")
ROWS = 64


def explain(
    kmex: Prototypical, image: Tensor, prototypes: Sequence[int] | None = None, top: int = 3, method: str = "auto"
) -> Explanation:
    """See `KMEx.explain`. All maps of the image come from one batched pass."""
    image = _checked_images(kmex, image)
    if len(image) != 1:
        raise InputError(f"One image (channels, H, W) was expected, got {len(image)} images.")
    with torch.no_grad():
        z = kmex.encode(image)
        distance = kmex.distance(z)
        similarity = kmex.similarity(z)
        black_box = kmex.head(z).softmax(1)
        probability = kmex.probabilities(similarity)
        predicted = int(kmex.predict(z))
    if not bool(similarity.isfinite().all()):
        raise KMExError("The network gives no finite embedding for this image: its weights or the image are broken.")
    order = distance[0].argsort(stable=True)
    ids = order[: max(0, top)] if prototypes is None else _checked_ids(kmex, prototypes)
    ids = ids[distance[0, ids].argsort(stable=True)]
    predicted_black_box = int(black_box.argmax(1))
    targets = torch.cat([ids, torch.tensor([len(kmex.prototypes) + predicted_black_box], device=ids.device)])
    found = _maps(kmex, image.expand(len(targets), -1, -1, -1), z.expand(len(targets), -1), targets, method)
    nearest = float(distance.min())
    return Explanation(
        black_box=black_box[0].cpu().numpy(),
        kmex=probability[0].cpu().numpy(),
        predicted_black_box=predicted_black_box,
        predicted=predicted,
        distance=distance[0].cpu().numpy(),
        similarity=similarity[0].cpu().numpy(),
        prototypes=ids.cpu().numpy(),
        maps=RelevanceMaps(found.values[:-1], found.conservation[:-1], found.method),
        black_box_map=RelevanceMaps(found.values[-1:], found.conservation[-1:], found.method),
        unusual=nearest > kmex.details.typical_distance,
        distance_rank=float(np.searchsorted(kmex.details.distance_quantiles, nearest, side="right") / 101),
    )


def pair_maps(kmex: Prototypical, images: Tensor, prototypes: Sequence[int], method: str = "auto") -> RelevanceMaps:
    """See `KMEx.maps`."""
    images = _checked_images(kmex, images)
    ids = _checked_ids(kmex, prototypes)
    if len(ids) != len(images):
        raise InputError(f"One prototype for each of {len(images)} images was expected, got {len(ids)}.")
    with torch.no_grad():
        z = kmex.encode(images)
    return _maps(kmex, images, z, ids, method)


def class_maps(
    kmex: Prototypical, images: Tensor, classes: Sequence[int], method: str = "auto"
) -> tuple[RelevanceMaps, RelevanceMaps]:
    """See `KMEx.class_maps`."""
    images = _checked_images(kmex, images)
    wrong = [c for c in classes if not 0 <= c < len(kmex.class_names)]
    if wrong or len(classes) != len(images):
        raise InputError(
            f"One class from 0 to {len(kmex.class_names) - 1} for each of {len(images)} images was expected, got "
            f"{list(classes)}."
        )
    with torch.no_grad():
        z = kmex.encode(images)
    first = len(kmex.prototypes) + torch.tensor(list(classes), dtype=torch.int64, device=z.device)
    by_kmex = _maps(kmex, images, z, first + len(kmex.class_names), method)
    return by_kmex, _maps(kmex, images, z, first, method)


def _checked_images(kmex: Prototypical, images: Tensor) -> Tensor:
    if isinstance(images, Tensor) and images.ndim == 3:
        images = images[None]
    check_images(images, "You gave")
    channels = len(kmex.pixel_range[0]) if kmex.pixel_range is not None else images.shape[1]
    if len(images) == 0 or images.shape[1] != channels:
        raise InputError(f"Images (N, {channels}, H, W) were expected, got {tuple(images.shape)}.")
    return images.to(kmex.prototypes.device, kmex.prototypes.dtype)


def _checked_ids(kmex: Prototypical, prototypes: Sequence[int]) -> Tensor:
    count = len(kmex.prototypes)
    wrong = [p for p in prototypes if not 0 <= p < count]
    if wrong:
        raise InputError(f"There is no prototype {wrong[0]}; they are numbered 0 to {count - 1}.")
    return torch.tensor(list(prototypes), dtype=torch.int64, device=kmex.prototypes.device)


def _chosen_method(kmex: Prototypical, images: Tensor, method: str) -> str:
    if method not in METHODS:
        raise InputError(f"There is no method '{method}'; known: {', '.join(METHODS)}.")
    rules = kmex.pixel_range is not None and has_rules(kmex.encoder, images.shape[1:])
    if method == "prp" and not rules:
        raise InputError(f"{no_rules(kmex.encoder)} PRP needs them; use integrated_gradients.")
    if method == "auto":
        return "prp" if rules else "integrated_gradients"
    return method


def _maps(kmex: Prototypical, images: Tensor, z: Tensor, targets: Tensor, method: str) -> RelevanceMaps:
    """One map per row: target t < K is the similarity to prototype t, K + c the black box's score of class c, and
    K + C + c the KMEx probability of class c."""
    asked, method = method, _chosen_method(kmex, images, method)
    try:
        values, expected = (_propagated if method == "prp" else _integrated)(kmex, images, z, targets)
    except NoRules as reason:  # what runs depends on the image
        if asked == "prp":
            raise InputError(f"{no_rules(kmex.encoder)} PRP needs them; use integrated_gradients.") from reason
        method = "integrated_gradients"
        values, expected = _integrated(kmex, images, z, targets)
    if not bool(values.isfinite().all()):
        raise KMExError(
            f"The relevance maps ({method}) of this image have no finite values: numbers overflowed on the way."
        )
    conservation = values.double().sum((1, 2, 3)) / expected.double()
    return RelevanceMaps(values.sum(1).float().cpu().numpy(), conservation.cpu().numpy(), method)


def _propagated(kmex: Prototypical, images: Tensor, z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    assert kmex.pixel_range is not None
    count, classes = len(kmex.prototypes), len(kmex.class_names)
    relevance = torch.empty_like(z)
    to_prototype, to_prediction = targets < count, targets >= count + classes
    to_score = ~(to_prototype | to_prediction)
    with torch.no_grad():
        ids, here = targets[to_prototype], z[to_prototype]
        relevance[to_prototype] = kmex.prototype_relevance(here, ids)
        relevance[to_score] = class_relevance(kmex.head, z[to_score], targets[to_score] - count)
        relevance[to_prediction] = kmex.prediction_relevance(z[to_prediction], targets[to_prediction] - count - classes)
    lrp = lrp_of(kmex.encoder, *kmex.pixel_range, images.shape[1:])
    portions = Portions.fitting(kmex.encoder, images, ROWS, backward=True, copies=LRP_COPIES)
    parts = list(portions.over(len(z), lambda part: lrp.maps(images[part], relevance[part], z[part])))
    return torch.cat(parts), relevance.sum(1)


def _integrated(kmex: Prototypical, images: Tensor, z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    kmex = _exact(kmex, images)

    def outputs(batch: Tensor) -> Tensor:
        embedding = kmex.encode(batch)
        similarity = kmex.similarity(embedding)
        return torch.cat([similarity, kmex.head(embedding), kmex.probabilities(similarity)], 1)

    black = images.amin((0, 2, 3)) if kmex.pixel_range is None else images.new_tensor(kmex.pixel_range[0])
    baseline = black.view(1, -1, 1, 1).expand(1, *images.shape[1:])
    return integrated_gradients(outputs, images, targets, baseline)


def _exact(kmex: Prototypical, images: Tensor) -> Prototypical:
    """A model of 16-bit floats as a copy in float32, because gradients need the precision; others as they are.

    One that cannot be copied, or that fails on float32, stays as it is: the maps' conservation then says how exact.
    """
    if not any(value.dtype in (torch.float16, torch.bfloat16) for value in kmex.parameters()):
        return kmex
    try:
        exact = copy.deepcopy(kmex).float()
        with torch.no_grad():
            exact.encode(images[:1])
    except (RuntimeError, TypeError, InputError):
        return kmex
    return exact
