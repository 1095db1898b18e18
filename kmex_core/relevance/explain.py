"""Explanations of images: predictions, similarities, and relevance maps with a check of their sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kmex_core.base.errors import InputError, KMExError
from kmex_core.networks.heads import has_scores
from kmex_core.networks.loaders import check_images
from kmex_core.relevance.catalogue import CLASS, DEFAULT_TARGET, METHODS, MapKind, default_for
from kmex_core.relevance.choices import checked_rival, of_classes, of_prototypes, of_scores, rivals_of
from kmex_core.relevance.method import Attributions, CannotExplain, has_gradients
from kmex_core.relevance.protocol import Prototypical
from kmex_core.relevance.target import Targets, joined
from kmex_core.relevance.types import Explanation, MapVerdict, Prediction, RelevanceMaps
from kmex_core.relevance.verdict import verdicts


def explain(
    kmex: Prototypical,
    image: Tensor,
    prototypes: Sequence[int] | None = None,
    top: int = 3,
    method: str | None = None,
    target: str = DEFAULT_TARGET,
    rival: str | int = CLASS,
    judged: bool = True,
) -> Explanation:
    """See `KMEx.explain`. All relevance maps of the image come from one batched pass."""
    image = _checked_images(kmex, image)
    if len(image) != 1:
        raise InputError(f"Expected one image (channels, H, W), got {len(image)} images.")
    rival = checked_rival(rival, len(kmex.prototypes))
    with torch.no_grad():
        z = kmex.encode(image)
        distance = kmex.distance(z)
        scores = kmex.head(z) if has_scores(kmex.head) else None
    predicted = _predicted(kmex, z)
    # the requested prototypes, or the nearest ones; in both cases nearest first, like the relevance maps
    order = distance[0].argsort(stable=True)
    ids = order[: max(0, top)] if prototypes is None else _checked_ids(kmex, prototypes)
    ids = ids[distance[0, ids].argsort(stable=True)]
    # one relevance map per prototype, and the last one for the black box's score, if it has any
    with torch.no_grad():
        of_ids = of_prototypes(target, kmex, torch.zeros_like(ids), z.expand(len(ids), -1), ids, rivals_of(rival, ids))
        of_black_box = [] if scores is None else [of_scores(target, scores, ids.new_zeros(1), scores.argmax(1))]
    kind = _kind(kmex, target, method)
    targets = joined([of_ids, *of_black_box])
    maps = _described(kmex, z, targets, _made(kmex, image, z, targets, kind.method), kind)
    of_prototype = maps[: len(ids)]
    return Explanation(
        **vars(predicted),
        prototypes=ids.cpu().numpy(),
        maps=of_prototype,
        verdicts=judge(kmex, image, ids.tolist(), of_prototype) if judged else (),
        black_box_map=None if scores is None else maps[len(ids) :],
        class_names=tuple(kmex.class_names),
        prototype_class=kmex.details.classes,
    )


def prediction(kmex: Prototypical, image: Tensor) -> Prediction:
    """What the model makes of an image, (1, channels, H, W), in one pass.

    Raises:
        InputError, KMExError: see `KMEx.explain`.
    """
    return prediction_and_embedding(kmex, image)[0]


def prediction_and_embedding(kmex: Prototypical, image: Tensor) -> tuple[Prediction, np.ndarray]:
    """`prediction`, and the embedding of the image, (1, D) float32."""
    with torch.no_grad():
        z = kmex.encode(_checked_images(kmex, image)[:1])
        return _predicted(kmex, z), z.float().cpu().numpy()


def judge(kmex: Prototypical, image: Tensor, prototypes: Sequence[int], maps: RelevanceMaps) -> tuple[MapVerdict, ...]:
    """A verdict on each relevance map of an image.

    Args:
        kmex: the model.
        image: (1, channels, H, W), normalised.
        prototypes: M, by index.
        maps: M, one of each prototype on this image.
    """
    image, ids = _checked_images(kmex, image), _checked_ids(kmex, prototypes)
    if not len(ids):
        return ()
    with torch.no_grad():
        z = kmex.encode(image)
    values, rivals = (torch.from_numpy(array).to(image.device) for array in (maps.values, maps.rivals))
    return verdicts(kmex, image, z, values[:, None], ids, rivals, MapKind(maps.target, maps.method))


def _predicted(kmex: Prototypical, z: Tensor) -> Prediction:
    """What the model makes of an image with the embedding z, (1, D)."""
    with torch.no_grad():
        distance, similarity = kmex.distance(z), kmex.similarity(z)
        scores = kmex.head(z) if has_scores(kmex.head) else None
        if not bool(similarity.isfinite().all()):
            raise KMExError("The embedding of this image is not finite: check the network's weights and the image.")
        nearest = float(distance.min())
        return Prediction(
            black_box=None if scores is None else scores.softmax(1)[0].cpu().numpy(),
            predicted_black_box=None if scores is None else int(scores.argmax(1)),
            kmex=kmex.posterior(z)[0].cpu().numpy(),
            predicted=int(kmex.predict(z)),
            calibrated=kmex.temperature is not None,
            distance=distance[0].cpu().numpy(),
            similarity=similarity[0].cpu().numpy(),
            unusual=nearest > kmex.details.typical_distance,
            distance_rank=float(np.searchsorted(kmex.details.distance_quantiles, nearest, side="right") / 101),
        )


def pair_maps(
    kmex: Prototypical,
    images: Tensor,
    prototypes: Sequence[int],
    method: str | None = None,
    target: str = DEFAULT_TARGET,
    rival: str | int = CLASS,
) -> RelevanceMaps:
    """See `KMEx.maps`."""
    images = _checked_images(kmex, images)
    ids = _checked_ids(kmex, prototypes)
    if len(ids) != len(images):
        raise InputError(f"Expected one prototype per image ({len(images)}), got {len(ids)}.")
    rival = checked_rival(rival, len(kmex.prototypes))
    each = torch.arange(len(ids), device=ids.device)
    with torch.no_grad():
        z = kmex.encode(images)
        targets = of_prototypes(target, kmex, each, z, ids, rivals_of(rival, ids))
    kind = _kind(kmex, target, method)
    return _described(kmex, z, targets, _made(kmex, images, z, targets, kind.method), kind)


def class_maps(
    kmex: Prototypical,
    images: Tensor,
    classes: Sequence[int],
    method: str | None = None,
    target: str = DEFAULT_TARGET,
) -> tuple[RelevanceMaps, RelevanceMaps | None]:
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
        chosen = torch.tensor(list(classes), dtype=torch.int64, device=z.device)
        by_kmex = of_classes(target, kmex, each, z, chosen)
        compared = has_scores(kmex.head)
        by_black_box = [of_scores(target, kmex.head(z), each, chosen)] if compared else []
    kind, both = _kind(kmex, target, method), joined([by_kmex, *by_black_box])
    maps = _described(kmex, z, both, _made(kmex, images, z, both, kind.method), kind)
    return maps[: len(each)], maps[len(each) :] if compared else None


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


def _kind(kmex: Prototypical, target: str = DEFAULT_TARGET, method: str | None = None) -> MapKind:
    """The kind of map, by the model's default method if none is given."""
    return MapKind(target, method or default_for(has_gradients(kmex)).method).checked()


def _made(kmex: Prototypical, images: Tensor, z: Tensor, targets: Targets, method: str) -> Attributions:
    """One relevance map per target.

    Raises:
        InputError: when the method cannot explain the model or these images.
        KMExError: when a map is not finite.
    """
    maker = METHODS.named(method).make()
    why = maker.why_not(kmex, images.shape[1:])
    if not why:
        try:
            made = maker.maps(kmex, images, z, targets)
        except CannotExplain as reason:
            why = str(reason)
    if why:
        raise InputError(f"{why} Instead of {method}, use {_kind(kmex).method}.")
    if not bool(made.values.isfinite().all()):
        raise KMExError(f"The relevance maps ({method}) of this image are not finite: the computation overflowed.")
    return made


def _described(kmex: Prototypical, z: Tensor, targets: Targets, made: Attributions, kind: MapKind) -> RelevanceMaps:
    """The maps as arrays, with what they explain."""
    with torch.no_grad():
        numbers = targets.values(kmex, z[targets.images])
    absorbed = torch.zeros_like(made.expected) if made.absorbed is None else made.absorbed
    arrays = {"expected": made.expected, "absorbed": absorbed, "numbers": numbers}
    magnitude, total = (values.double().sum((1, 2, 3)) for values in (made.values.double().abs(), made.values))
    return RelevanceMaps(
        values=made.values.sum(1).float().cpu().numpy(),
        magnitude=magnitude.cpu().numpy(),
        total=total.cpu().numpy(),
        rivals=targets.rival.cpu().numpy(),
        method=kind.method,
        target=kind.target,
        **{name: value.double().cpu().numpy() for name, value in arrays.items()},
    )
