"""The sanity suite of relevance maps: every kind of map beside orders and maps that know nothing about the prototype.

Deletion and insertion (`relevance.removal`), specificity between two rivals (`relevance.verdict`), cascading
randomisation of the weights (`randomisation`), and sensitivity to noise (Yeh et al., NeurIPS 2019; Quantus: Max-
Sensitivity).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kmex_core.base.errors import KMExError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.metrics.randomisation import Reference, randomised
from kmex_core.metrics.types import BRIGHTNESS, ONES, OTHER_IMAGE, RANDOM, MapChecks
from kmex_core.models.kmex import KMEx
from kmex_core.relevance.catalogue import METHODS, TARGETS, MapKind
from kmex_core.relevance.choices import of_prototypes, why_no_target
from kmex_core.relevance.method import CannotExplain, RelevanceMethod
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.removal import relevance_rank, removal
from kmex_core.relevance.replacements import REPLACEMENTS, replacements_of
from kmex_core.relevance.target import Target, joined, targets
from kmex_core.relevance.verdict import ORDERS, cosine, second_rivals, specificity

BATCH = 16
NOISE, DRAWS = 0.01, 10


class _Ones(Target):
    """A start of LRP that knows nothing: one for each dimension."""

    name, title, about, noun, place = "ones", "", "", "", 0

    def values(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.values`."""
        return z.sum(1)

    def relevance(self, model: Explainable, z: Tensor, of: Tensor, rival: Tensor) -> Tensor:
        """See `Target.relevance`."""
        return torch.ones_like(z)


@dataclass(frozen=True, eq=False)
class _Images:
    """A few images with what their maps are of.

    Attributes:
        inputs: (N, C, H, W).
        z: (N, D).
        prototypes: (N,) the nearest prototype of each.
        rivals: (N,) the nearest one of another class.
        second: (N,) the nearest one of a third class; None with two classes.
    """

    inputs: Tensor
    z: Tensor
    prototypes: Tensor
    rivals: Tensor
    second: Tensor | None

    @property
    def each(self) -> Tensor:
        """(N,) their numbers."""
        return torch.arange(len(self.inputs), device=self.inputs.device)


@dataclass(frozen=True, eq=False)
class _Maps:
    """(N, C, H, W) maps of a kind: against the rival, against the second one, and of the rival against the second."""

    own: Tensor
    second: Tensor | None
    between: Tensor | None


def why_not(model: KMEx, kind: MapKind, size: Sequence[int]) -> str:
    """Why there are no maps of a kind, as a sentence; "" if there are. `size` is of an image, (C, H, W)."""
    return why_no_target(kind.target, model) or METHODS[kind.method].make().why_not(model, size)


def map_checks(
    model: KMEx,
    batches: Sequence[Tensor],
    kinds: Sequence[MapKind],
    reference: Reference,
    few: int,
    progress: Progress = silent,
) -> MapChecks:
    """Check kinds of relevance maps of the nearest prototype of each image, beside
    random order, brightness, another image's map and an all-ones start of LRP.

    Args:
        model: with the prototypes.
        batches: (n, C, H, W) each, normalised, N images in all.
        kinds: the kinds of maps; each can explain the model.
        reference: for the randomised networks.
        few: the number of the first images that noise and randomised weights are tried on.
        progress: called after every batch of each part; it may raise to stop.

    Raises:
        KMExError: when a map is not finite.
    """
    began = time.perf_counter()
    device = model.prototypes.device
    images = [_images(model, part.to(device)) for batch in batches for part in batch.split(BATCH)]
    total = sum(len(part.inputs) for part in images)
    lrp = METHODS["prp"].make()
    ones = not lrp.why_not(model, images[0].inputs.shape[1:])
    names = [kind.title for kind in kinds]
    rows = [*names, RANDOM, BRIGHTNESS, OTHER_IMAGE, *([ONES] if ones else [])]
    kept, inserted = (np.full((len(rows), total, len(REPLACEMENTS)), np.nan) for _ in range(2))
    specific, of_rival, of_prototype = (np.full((len(rows), total), np.nan) for _ in range(3))
    seconds = np.zeros(len(rows))
    done, before = 0, None
    for part in images:
        place = slice(done, done + len(part.inputs))
        replacements = list(replacements_of(part.inputs, model))

        def removed(
            row: int, ranks: Tensor, place: slice = place, part: _Images = part, others: Sequence[Tensor] = replacements
        ) -> None:
            predicted = model.prototype_class[part.prototypes] if model.by_distance else model.predict(part.z)
            found = removal(model, part.inputs, predicted, ranks, others)
            weight = 1 / ORDERS if rows[row] == RANDOM else 1
            for values, measured in ((kept, found.kept), (inserted, found.inserted)):
                values[row, place] = (
                    np.nan_to_num(values[row, place]) + weight * measured.double().mean(2).cpu().numpy()
                )

        first: Tensor | None = None
        for row, kind in enumerate(kinds):
            start = time.perf_counter()
            maps = _maps(model, kind, part)
            seconds[row] += (time.perf_counter() - start) / total
            first = maps.own if first is None else first
            ranks = relevance_rank(maps.own)
            removed(row, ranks)
            if part.second is not None and maps.second is not None and maps.between is not None:
                of_rival[row, place] = cosine(maps.own, maps.second).cpu().numpy()
                of_prototype[row, place] = cosine(maps.own, maps.between).cpu().numpy()
                rivals, both = (part.rivals, part.second), (ranks, relevance_rank(maps.second))
                specific[row, place] = (
                    specificity(model, part.inputs, part.prototypes, rivals, both, replacements).cpu().numpy()
                )
        pixels = part.inputs.shape[2] * part.inputs.shape[3]
        for order in range(ORDERS):
            drawn = [
                np.random.default_rng([order, index]).permutation(pixels) for index in range(place.start, place.stop)
            ]
            removed(len(kinds), torch.from_numpy(np.stack(drawn)).to(device))
        removed(len(kinds) + 1, relevance_rank(part.inputs))
        if first is not None:
            # the map of the image before; of this part's last one for the very first image
            shifted = torch.cat([first[-1:] if before is None else before, first[:-1]])
            before = first[-1:]
            removed(len(kinds) + 2, relevance_rank(shifted))
        if ones:
            start = time.perf_counter()
            made = lrp.maps(model, part.inputs, part.z, targets(_Ones(), part.each, part.prototypes))
            seconds[-1] += (time.perf_counter() - start) / total
            removed(len(rows) - 1, relevance_rank(made.values))
        done = place.stop
        progress(Event("Deleting and inserting pixels", done, total))
    sensitive, layers, alike = _disturbed(model, images, kinds, reference, min(few, total), progress)
    padding = np.full((len(rows) - len(kinds), min(few, total)), np.nan)
    return MapChecks(
        rows=tuple(rows),
        targets=(*(kind.target for kind in kinds), *[""] * (len(rows) - len(kinds))),
        methods=(*(kind.method for kind in kinds), *[""] * (len(rows) - len(kinds))),
        replacements=tuple(REPLACEMENTS),
        kept=kept,
        inserted=inserted,
        specificity=specific,
        cosine_rival=of_rival,
        cosine_prototype=of_prototype,
        sensitivity=np.concatenate([sensitive, padding]),
        random_layers=np.array(layers),
        randomised=alike,
        seconds_per_image=seconds,
        seconds=time.perf_counter() - began,
    )


def _images(model: KMEx, inputs: Tensor) -> _Images:
    with torch.no_grad():
        z = model.encode(inputs)
        nearest = model.distance(z).argmin(1)
        rivals = model.rivals(z, nearest)
        return _Images(inputs, z, nearest, rivals, second_rivals(model, z, nearest, rivals))


def _finite(
    method: RelevanceMethod, model: KMEx, part: _Images, *wanted: tuple[MapKind, Tensor, Tensor]
) -> list[Tensor]:
    """(N, C, H, W) maps for each of `wanted`: a kind, prototypes and rivals."""
    made = [of_prototypes(kind.target, model, part.each, part.z, of, rival) for kind, of, rival in wanted]
    try:
        values = method.maps(model, part.inputs, part.z, joined(made)).values
    except CannotExplain as reason:
        raise KMExError(str(reason)) from reason
    if not bool(values.isfinite().all()):
        raise KMExError("Some relevance maps are not finite: the computation overflowed.")
    return list(values.split(len(part.inputs)))


def _maps(model: KMEx, kind: MapKind, part: _Images) -> _Maps:
    method = METHODS[kind.method].make()
    own = (kind, part.prototypes, part.rivals)
    if part.second is None:
        return _Maps(_finite(method, model, part, own)[0], None, None)
    if not TARGETS[kind.target].has_rival:
        # the same map whatever the rival; of the rival prototype (or its class), another one
        one, other = _finite(method, model, part, own, (kind, part.rivals, part.second))
        return _Maps(one, one, other)
    wanted = (own, (kind, part.prototypes, part.second), (kind, part.rivals, part.second))
    return _Maps(*_finite(method, model, part, *wanted))


def _disturbed(
    model: KMEx, images: Sequence[_Images], kinds: Sequence[MapKind], reference: Reference, few: int, progress: Progress
) -> tuple[np.ndarray, list[float], np.ndarray]:
    """How far noise moves the maps (kinds, n), the shares of random layers, and how alike the maps remain (kinds,
    stages, n), for the first `few` images."""
    parts = list(_first(images, few))
    sensitive = np.zeros((len(kinds), few))
    own: list[list[Tensor]] = []
    for row, kind in enumerate(kinds):
        method, start = METHODS[kind.method].make(), 0
        own.append([])
        for part in parts:
            wanted = (kind, part.prototypes, part.rivals)
            (values,) = _finite(method, model, part, wanted)
            own[row].append(values)
            for draw in range(DRAWS):
                noisy = _noisy(model, part, draw)
                (moved,) = _finite(method, model, noisy, wanted)
                change = (moved - values).flatten(1).norm(dim=1) / values.flatten(1).norm(dim=1).clamp(min=1e-30)
                place = slice(start, start + len(part.inputs))
                sensitive[row, place] = np.maximum(sensitive[row, place], change.cpu().numpy())
            start += len(part.inputs)
        progress(Event("Adding noise", row + 1, len(kinds)))
    layers: list[float] = []
    alike: list[np.ndarray] = []
    for share, network in randomised(model, reference):
        layers.append(share)
        rows = []
        for row, kind in enumerate(kinds):
            method, correlations = METHODS[kind.method].make(), []
            for number, part in enumerate(parts):
                with torch.no_grad():
                    again = _Images(part.inputs, network.encode(part.inputs), part.prototypes, part.rivals, None)
                try:
                    (values,) = _finite(method, network, again, (kind, part.prototypes, part.rivals))
                except KMExError:  # a random network may have no finite map
                    correlations.append(np.full(len(part.inputs), np.nan))
                    continue
                correlations.append(rank_correlation(own[row][number], values).cpu().numpy())
            rows.append(np.concatenate(correlations))
        alike.append(np.stack(rows))
        progress(Event("Randomising layers", len(layers), len(layers) + (share < 1)))
    return sensitive, layers, np.stack(alike, 1) if alike else np.zeros((len(kinds), 0, few))


def _first(images: Sequence[_Images], few: int) -> Iterator[_Images]:
    for part in images:
        count = min(few, len(part.inputs))
        if count:
            second = None if part.second is None else part.second[:count]
            yield _Images(part.inputs[:count], part.z[:count], part.prototypes[:count], part.rivals[:count], second)
        few -= count


def _noisy(model: KMEx, part: _Images, draw: int) -> _Images:
    """The images with uniform noise of up to 1% of the range of pixels, the same for every kind of map."""
    lowest, highest = part.inputs.amin(), part.inputs.amax()
    if model.pixel_range is not None:
        lowest, highest = (part.inputs.new_tensor(end).view(1, -1, 1, 1) for end in model.pixel_range)
    generator = torch.Generator().manual_seed(draw)
    noise = (torch.rand(part.inputs.shape, generator=generator) * 2 - 1).to(part.inputs) * NOISE
    inputs = part.inputs + noise * (highest - lowest)
    with torch.no_grad():
        return _Images(inputs, model.encode(inputs), part.prototypes, part.rivals, part.second)


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """(N,) Spearman's correlation of relevance maps (N, C, H, W), channels summed; ties by their order."""
    ranks = [relevance_rank(maps).double() for maps in (one, other)]
    first, second = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    return (first * second).sum(1) / (first.square().sum(1) * second.square().sum(1)).sqrt().clamp(min=1e-30)
