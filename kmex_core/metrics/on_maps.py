"""All metrics on relevance maps in one pass over the images (paper 4.1.2 and 4.2.3)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kmex_core.base.errors import KMExError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.metrics.black_box import BlackBoxAlone, Classifier
from kmex_core.metrics.faithfulness import Divergences
from kmex_core.metrics.ordering import pixel_counts
from kmex_core.metrics.robustness import LEAST, average_drop, average_increase
from kmex_core.metrics.types import MapDivergences, MapScores
from kmex_core.networks.heads import has_scores
from kmex_core.networks.memory import Portions
from kmex_core.prototypes.fit import class_members
from kmex_core.relevance.choices import of_classes, of_prototypes, of_scores
from kmex_core.relevance.method import Attributions, CannotExplain, RelevanceMethod
from kmex_core.relevance.protocol import Explainable, Prototypical
from kmex_core.relevance.removal import keep_pixels, relevance_rank
from kmex_core.relevance.target import Targets
from kmex_core.relevance.target import joined as joined_targets

BATCH = 16
STEPS = 20
PIXELS_AT_ONCE = 2**18


class Decider(Prototypical, Protocol):
    """A model that decides by prototypes: N images, K prototypes, C classes."""

    def classify(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class scores."""
        ...

    def reference_probabilities(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class probabilities as published."""
        ...

    def reference_similarity(self, z: Tensor) -> Tensor:
        """(N, D) embeddings to (N, K) similarities as in the paper's released code."""
        ...


@dataclass(frozen=True)
class _Outputs:
    """The outputs of a model and its black box for some images; `black_box` is (N, 0) without one."""

    z: Tensor
    similarity: Tensor
    reference: Tensor
    probability: Tensor
    published: Tensor
    black_box: Tensor


def _outputs(model: Decider, images: Tensor) -> _Outputs:
    z = model.encode(images)
    similarity = model.similarity(z)
    reference = model.reference_similarity(z)
    published = model.reference_probabilities(similarity)
    black_box = model.head(z).softmax(1) if has_scores(model.head) else z[:, :0]
    return _Outputs(z, similarity, reference, model.posterior(z), published, black_box)


def map_scores(
    model: Decider,
    batches: Iterable[tuple[np.ndarray, Tensor, Tensor]],
    baseline: Tensor,
    method: RelevanceMethod,
    target: str,
    *,
    total: int = 0,
    seed: int = 0,
    steps: int = STEPS,
    progress: Progress = silent,
) -> MapScores:
    """AD, AI, RO and D_fdl of a model and its black box in one pass: relevance maps and masked images are shared.

    Relevance maps per image: of each prototype of its class (AD, AI), of the model's own prediction (RO), of the black
    box's prediction by the model and by the black box (D_fdl, and the black box's AD, AI, RO), and of the black box's
    runner-up class by the model (a chance level of D_fdl). The others are a uniform map, the map of another image (see
    `Divergences`), and a random order of pixels per image (for AD, AI and RO).
    Masked images go through the encoder in batches, once for the model and its black box. Memory is bounded by a
    batch; its size does not change the result. The order of the images decides which one is the other image.
    Where the network predicts none of the classes, what is of the black box is NaN.

    Args:
        model: see `Decider`; in evaluation mode.
        batches: indices (n,), normalised images (n, channels, H, W) and labels (n,).
        baseline: (channels, H, W), the replacement of removed pixels.
        method: how the relevance maps are made.
        target: what they explain, a name in `relevance.catalogue.TARGETS`.
        total: number of images (0 when unknown), for progress.
        seed: of the random order of pixels, which depends only on it and the image's index.
        steps: of relevance ordering.
        progress: called after every batch; it may raise to stop.

    Raises:
        KMExError: when a relevance map is not finite, or there are no images or no relevance maps of the model.
    """
    began = time.perf_counter()
    divergences, compared = Divergences(), has_scores(model.head)
    parts: list[dict[str, np.ndarray]] = []
    baseline = baseline.to(model.prototype_class.device)
    with torch.no_grad():
        empty = _outputs(model, baseline[None])
    members = class_members(model.prototype_class, empty.probability.shape[1])
    done = 0
    for indices, images, labels in batches:
        if not parts and (why := method.why_not(model, images.shape[1:])):
            raise KMExError(why)
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            batch = _Batch(
                model, method, target, indices[part], images[part].to(baseline.device), labels[part].to(baseline.device)
            )
            parts.append(batch.scores(baseline, empty, members, steps, seed, divergences))
            done += len(indices[part])
            progress(Event("Measuring relevance maps", done, max(total, done)))
    if not parts:
        raise KMExError("There are no images to measure relevance maps on.")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    conserving = float(joined.pop("conserving").mean())
    by_index = np.argsort(joined["images"], kind="stable")
    joined |= divergences.result() if compared else {name: np.full(len(by_index), np.nan) for name in Divergences.NAMES}
    ordered = {name: values[by_index] for name, values in joined.items()}
    return MapScores(**ordered, conserving=conserving, seconds=time.perf_counter() - began)


def map_divergences(
    model: Decider,
    other: Classifier,
    batches: Iterable[tuple[np.ndarray, Tensor, Tensor]],
    method: RelevanceMethod,
    target: str,
    progress: Progress,
) -> MapDivergences:
    """D_fdl between a model and a black box with its own network, per image (paper 4.1.2), and its chance levels.

    Compares the two relevance maps of the class that the black box predicts.

    Args:
        model: see `Decider`.
        other: the black box.
        batches: see `map_scores`; both networks take the same input.
        method: how the relevance maps are made.
        target: what they explain, a name in `relevance.catalogue.TARGETS`.
        progress: called after every batch; it may raise to stop.

    Raises:
        KMExError: when a relevance map is not finite.
    """
    black_box = BlackBoxAlone(other.encoder, other.head, model.pixel_range, model.pixel_mean)
    divergences, indices = Divergences(), []
    done = 0
    for drawn, images, _ in batches:
        indices.append(np.asarray(drawn, dtype=np.int64))
        for start in range(0, len(images), BATCH):
            inputs = images[start : start + BATCH].to(model.prototype_class.device)
            with torch.no_grad():
                z, z_black_box = model.encode(inputs), black_box.encode(inputs)
                scores = other.head(z_black_box)
                # the class that the black box predicts by the model, its runner-up by the model, and by the black box
                each = torch.arange(len(inputs), device=inputs.device)
                predicted, runner_up = _best_two(scores)
                two = [of_classes(target, model, each, z, classes) for classes in (predicted, runner_up)]
                by_black_box = of_scores(target, scores, each, predicted)
            maps = _finite_maps(method, model, inputs, z, joined_targets(two), BATCH).values
            maps_black_box = _finite_maps(method, black_box, inputs, z_black_box, by_black_box, BATCH).values
            divergences.add(maps[: len(inputs)], maps[len(inputs) :], maps_black_box)
            done += len(inputs)
            progress(Event("Comparing relevance maps", done, done))
    joined = {"images": np.concatenate(indices)} | divergences.result()
    by_index = np.argsort(joined["images"], kind="stable")
    return MapDivergences(**{name: values[by_index] for name, values in joined.items()})


def _best_two(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) classes with the highest and the second highest of (N, C) scores (the same one if C is 1)."""
    first = scores.argmax(1)
    others = scores.scatter(1, first[:, None], -torch.inf)
    return first, others.argmax(1)


def _finite_maps(
    method: RelevanceMethod, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int
) -> Attributions:
    """See `RelevanceMethod.maps`.

    Raises:
        KMExError: when a relevance map is not finite, or the method cannot explain these images.
    """
    try:
        maps = method.maps(model, images, z, targets, rows)
    except CannotExplain as reason:
        raise KMExError(str(reason)) from reason
    if not bool(maps.values.isfinite().all()):
        raise KMExError("Some relevance maps are not finite: the computation overflowed.")
    return maps


class _Batch:
    """A few images with everything needed to score them."""

    def __init__(
        self,
        model: Decider,
        method: RelevanceMethod,
        target: str,
        indices: np.ndarray,
        images: Tensor,
        labels: Tensor,
    ) -> None:
        self.model, self.method, self.target = model, method, target
        self.indices, self.images, self.labels = indices, images, labels
        self.pixels = images.shape[2] * images.shape[3]
        self.rows = max(16, PIXELS_AT_ONCE // self.pixels)
        with torch.no_grad():
            self.outputs = _outputs(model, images)
            self.predicted = model.classify(self.outputs.similarity).argmax(1)
        # the classes of the images with a black box beside the model: of all, or of none
        self.compared = has_scores(model.head)
        none = (self.predicted[:0],) * 2
        self.black_box, self.runner_up = _best_two(self.outputs.black_box) if self.compared else none

    def scores(
        self,
        baseline: Tensor,
        empty: _Outputs,
        members: Tensor,
        steps: int,
        seed: int,
        divergences: Divergences,
    ) -> dict[str, np.ndarray]:
        """The rows of `MapScores` for these images, and whether each relevance map conserves relevance.

        Divergences are added to `divergences`, which connects the batches.
        """
        count, beside, device = len(self.images), len(self.black_box), self.images.device
        each = torch.arange(count, device=device)
        # every pair of an image and a prototype of its class, P in all; `slot` is its column in the result, (n, k)
        of_class = members[self.labels]
        image, slot = torch.nonzero(of_class >= 0, as_tuple=True)
        prototype = of_class[image, slot]
        # the model's relevance map of the black box's class is only another one where the predictions differ
        other = torch.nonzero(self.predicted[:beside] != self.black_box)[:, 0]
        maps, conserving = self._maps(image, prototype, other)
        of_prototype, of_prediction, of_black_box, of_runner_up, of_other = maps.split(
            [len(image), count, beside, beside, len(other)]
        )
        if self.compared:
            same_class = of_prediction.clone()
            same_class[other] = of_other
            divergences.add(same_class, of_runner_up, of_black_box)
        # pixel orders: of the P pairs, of the n (or no) black-box and n model predictions, and n random ones
        ranks = torch.cat(
            [
                relevance_rank(of_prototype),
                relevance_rank(of_black_box),
                relevance_rank(of_prediction),
                self._random_ranks(seed),
            ]
        )
        # all masked images in one pass through the encoder: for AD and AI, the more relevant half of the pixels by the
        # P pairs, the n black-box predictions and n random orders; for RO, every step between none and all by three
        # orders per image
        least = self.pixels - int(self.pixels * LEAST)
        between = torch.from_numpy(pixel_counts(self.pixels, steps)[1:-1]).to(device)
        orders = 3 if self.compared else 2
        first = len(image) + torch.arange(orders * count, device=device)  # ranks by black box, by model, at random
        seen = self._masked(
            baseline,
            torch.cat([image, each[:beside], each, each.repeat(orders).repeat_interleave(len(between))]),
            ranks,
            torch.cat(
                [
                    torch.arange(len(image) + beside, device=device),
                    first[-count:],
                    first.repeat_interleave(len(between)),
                ]
            ),
            torch.cat([between.new_full((len(image) + beside + count,), least), between.repeat(orders * count)]),
        )
        # AD, AI: the similarities of each pair (P,) and the black box's probability (n,) before and after masking, by
        # relevance and at random
        pairs, whole = slice(len(image)), slice(len(image), len(image) + beside)
        at_random = slice(whole.stop, whole.stop + count)
        before = self.outputs.similarity[image, prototype]
        after = seen.similarity[pairs].gather(1, prototype[:, None])[:, 0]
        after_random = seen.similarity[at_random][image, prototype]
        before_reference = self.outputs.reference[image, prototype]
        after_reference = seen.reference[pairs].gather(1, prototype[:, None])[:, 0]
        # RO: probabilities by order, image and step, (orders, n, steps − 1, C)
        shape = (orders, count, len(between), len(empty.probability[0]))
        model_steps = seen.probability[at_random.stop :].view(*shape)

        def curve(by: int, values: Tensor, start: Tensor, end: Tensor, target: Tensor) -> np.ndarray:
            # both ends are known without masking: the baseline image and the image itself
            middle = values[by].gather(2, target[:, None, None].expand(-1, len(between), 1))[..., 0]
            every = torch.cat([start[0, target][:, None], middle, end.gather(1, target[:, None])], 1)
            return every.float().cpu().numpy()

        def by_slot(values: np.ndarray) -> np.ndarray:
            table = np.full(of_class.shape, np.nan)
            table[image.cpu().numpy(), slot.cpu().numpy()] = values
            return table

        s, t, random, s_reference, t_reference = (
            value.double().cpu().numpy() for value in (before, after, after_random, before_reference, after_reference)
        )
        published_steps = seen.published[at_random.stop :].view(*shape)
        published_ends = (empty.published, self.outputs.published, self.predicted)
        model_ends = (empty.probability, self.outputs.probability, self.predicted)
        by_black_box = np.full((2, count, len(between) + 2), np.nan, dtype=np.float32)
        masked = np.full((4, count), np.nan)
        if self.compared:
            black_steps = seen.black_box[at_random.stop :].view(*shape)
            black_ends = (empty.black_box, self.outputs.black_box, self.black_box)
            by_black_box = np.stack([curve(by, black_steps, *black_ends) for by in (0, 2)])
            b, d, b_random = (
                values[each, self.black_box].double().cpu().numpy()
                for values in (self.outputs.black_box, seen.black_box[whole], seen.black_box[at_random])
            )
            masked = np.stack(
                [change(b, kept) for change in (average_drop, average_increase) for kept in (d, b_random)]
            )
        return {
            "images": np.asarray(self.indices, dtype=np.int64),
            "drop": by_slot(average_drop(s, t)),
            "increase": by_slot(average_increase(s, t)),
            "drop_random": by_slot(average_drop(s, random)),
            "increase_random": by_slot(average_increase(s, random)),
            "drop_reference": by_slot(average_drop(s_reference, t_reference)),
            "increase_reference": by_slot(average_increase(s_reference, t_reference)),
            "drop_black_box": masked[0],
            "drop_black_box_random": masked[1],
            "increase_black_box": masked[2],
            "increase_black_box_random": masked[3],
            "curve": curve(-2, model_steps, *model_ends),
            "curve_random": curve(-1, model_steps, *model_ends),
            "curve_reference": curve(-2, published_steps, *published_ends),
            "curve_black_box": by_black_box[0],
            "curve_black_box_random": by_black_box[1],
            "conserving": conserving,
        }

    def _maps(self, image: Tensor, prototype: Tensor, other: Tensor) -> tuple[Tensor, np.ndarray]:
        """Relevance maps of all pairs, of each image's prediction by the model and by the black box, of the black box's
        runner-up class by the model, and, for the images in `other`, of the black box's class by the model; and whether
        each sums to what it should."""
        each, z = torch.arange(len(self.images), device=image.device), self.outputs.z

        def by_model(images: Tensor, classes: Tensor) -> Targets:
            return of_classes(self.target, self.model, images, z[images], classes)

        with torch.no_grad():
            parts = [
                of_prototypes(self.target, self.model, image, z[image], prototype),
                by_model(each, self.predicted),
            ]
            if self.compared:
                parts += [
                    of_scores(self.target, self.model.head(z), each, self.black_box),
                    by_model(each, self.runner_up),
                    by_model(other, self.black_box[other]),
                ]
            targets = joined_targets(parts)
        maps = _finite_maps(self.method, self.model, self.images, z, targets, self.rows)
        values = maps.values.double()
        error = (values.sum((1, 2, 3)) - maps.expected.double()).abs()
        exact = error <= self.method.tolerance * values.abs().sum((1, 2, 3))
        return maps.values, exact.cpu().numpy()

    def _random_ranks(self, seed: int) -> Tensor:
        # a generator per image: the order does not depend on the batch
        drawn = [np.random.default_rng([seed, int(index)]).permutation(self.pixels) for index in self.indices]
        return torch.from_numpy(np.stack(drawn)).to(self.images.device)

    def _masked(self, baseline: Tensor, image: Tensor, ranks: Tensor, rank: Tensor, counts: Tensor) -> _Outputs:
        """Model outputs for masked images: row r is `image[r]` with `counts[r]` pixels by `ranks[rank[r]]`."""

        def outputs_of(part: slice) -> _Outputs:
            return _outputs(
                self.model, keep_pixels(self.images[image[part]], baseline, ranks[rank[part]], counts[part])
            )

        with torch.no_grad():
            portions = Portions.fitting(self.model.encoder, self.images, self.rows)
            parts = list(portions.over(len(image), outputs_of))
        return _Outputs(
            *(
                torch.cat([getattr(outputs, name) for outputs in parts])
                for name in ("z", "similarity", "reference", "probability", "published", "black_box")
            )
        )
