"""All metrics on relevance maps in one pass over the images (paper 4.1.2 and 4.2.3)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import KMExError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.metrics.faithfulness import map_divergence
from kmex_core.metrics.ordering import pixel_counts
from kmex_core.metrics.robustness import (
    LEAST,
    average_drop,
    average_increase,
    keep_pixels,
    relevance_rank,
)
from kmex_core.metrics.types import MapScores
from kmex_core.networks.memory import Portions
from kmex_core.prototypes.fit import class_members
from kmex_core.relevance.method import CannotExplain, RelevanceMethod, Targets
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.types import CONSERVATION_TOLERANCE

BATCH = 16
STEPS = 20
PIXELS_AT_ONCE = 2**18


class Decider(Explainable, Protocol):
    """A model that decides by prototypes: N images, K prototypes, C classes."""

    prototype_class: Tensor

    def classify(self, similarity: Tensor) -> Tensor:
        """(N, K) similarities to (N, C) class scores."""
        ...


class Classifier(Protocol):
    """A network in two parts: images to embeddings, embeddings to class scores."""

    @property
    def encoder(self) -> nn.Module:
        """(N, channels, H, W) to (N, D)."""

    @property
    def head(self) -> nn.Module:
        """(N, D) to (N, C)."""


@dataclass(frozen=True, eq=False)
class BlackBoxAlone:
    """A black box with its own network as an `Explainable` without prototypes.

    Attributes:
        encoder, head: see `Classifier`.
        pixel_range: see `Explainable`.
    """

    encoder: nn.Module
    head: nn.Module
    pixel_range: tuple[Sequence[float], Sequence[float]] | None

    def encode(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, D)."""
        z: Tensor = self.encoder(images)
        return z

    def similarity(self, z: Tensor) -> Tensor:
        """(N, 0)."""
        return z[:, :0]

    def posterior(self, z: Tensor) -> Tensor:
        """(N, 0)."""
        return z[:, :0]

    def prototype_relevance(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """(0, D): never called, there are no targets."""
        return z

    def prediction_relevance(self, z: Tensor, classes: Tensor) -> Tensor:
        """(0, D): never called, there are no targets."""
        return z


@dataclass(frozen=True)
class _Outputs:
    """The outputs of a model and its black box for some images."""

    z: Tensor
    similarity: Tensor
    probability: Tensor
    black_box: Tensor


def _outputs(model: Explainable, images: Tensor) -> _Outputs:
    z = model.encode(images)
    similarity = model.similarity(z)
    return _Outputs(z, similarity, model.posterior(z), model.head(z).softmax(1))


def map_scores(
    model: Decider,
    batches: Iterable[tuple[np.ndarray, Tensor, Tensor]],
    baseline: Tensor,
    method: RelevanceMethod,
    *,
    total: int = 0,
    seed: int = 0,
    steps: int = STEPS,
    progress: Progress = silent,
) -> MapScores:
    """AD, AI, RO and D_fdl of a model and its black box in one pass: relevance maps and masked images are shared.

    Relevance maps per image: of each prototype of its class (AD, AI), of the model's own prediction (RO), and of the
    black box's prediction by the model and by the black box (D_fdl, and the black box's AD, AI, RO).
    Masked images go through the encoder in batches, once for the model and its black box. Memory is bounded by a
    batch; its size does not change the result.

    Args:
        model: see `Decider`; in evaluation mode.
        batches: indices (n,), normalised images (n, channels, H, W) and labels (n,).
        baseline: (channels, H, W), the replacement of removed pixels.
        method: of the relevance maps.
        total: number of images (0 when unknown), for progress.
        seed: of the random order of pixels, which depends only on it and the image's index.
        steps: of relevance ordering.
        progress: called after every batch; it may raise to stop.

    Raises:
        KMExError: when a relevance map is not finite, or there are no images or no relevance maps of the model.
    """
    began = time.perf_counter()
    parts: list[dict[str, np.ndarray]] = []
    baseline = baseline.to(model.prototype_class.device)
    with torch.no_grad():
        empty = _outputs(model, baseline[None])
    members = class_members(model.prototype_class, empty.black_box.shape[1])
    done = 0
    for indices, images, labels in batches:
        if not parts and (why := method.why_not(model, images.shape[1:])):
            raise KMExError(why)
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            batch = _Batch(
                model, method, indices[part], images[part].to(baseline.device), labels[part].to(baseline.device)
            )
            parts.append(batch.scores(baseline, empty, members, steps, seed))
            done += len(indices[part])
            progress(Event("Measuring relevance maps", done, max(total, done)))
    if not parts:
        raise KMExError("There are no images to measure relevance maps on.")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    conserving = float(joined.pop("conserving").mean())
    return MapScores(**joined, conserving=conserving, seconds=time.perf_counter() - began)


def map_divergences(
    model: Decider,
    other: Classifier,
    batches: Iterable[tuple[np.ndarray, Tensor, Tensor]],
    method: RelevanceMethod,
    progress: Progress,
) -> np.ndarray:
    """(N,) D_fdl in nats between a model and a black box with its own network, per image (paper 4.1.2).

    Compares the two relevance maps of the class that the black box predicts.

    Args:
        model: see `Decider`.
        other: the black box.
        batches: see `map_scores`; both networks take the same input.
        method: of the relevance maps.
        progress: called after every batch; it may raise to stop.

    Raises:
        KMExError: when a relevance map is not finite.
    """
    black_box = BlackBoxAlone(other.encoder, other.head, model.pixel_range)
    divergences: list[Tensor] = []
    done = 0
    for _, images, _ in batches:
        for start in range(0, len(images), BATCH):
            inputs = images[start : start + BATCH].to(model.prototype_class.device)
            with torch.no_grad():
                z, z_black_box = model.encode(inputs), black_box.encode(inputs)
                scores = other.head(z_black_box)
                prototypes = model.similarity(z).shape[1]
            # the class that the black box predicts, by the model and by the black box
            each, classes = torch.arange(len(inputs), device=inputs.device), scores.shape[1]
            predicted = scores.argmax(1)
            by_model = Targets(each, prototypes + classes + predicted, prototypes, classes)
            by_black_box = Targets(each, predicted, 0, classes)
            maps, _ = _finite_maps(method, model, inputs, z, by_model, BATCH)
            maps_black_box, _ = _finite_maps(method, black_box, inputs, z_black_box, by_black_box, BATCH)
            divergences.append(map_divergence(maps, maps_black_box))
            done += len(inputs)
            progress(Event("Comparing relevance maps", done, done))
    return torch.cat(divergences).cpu().numpy()


def _finite_maps(
    method: RelevanceMethod, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int
) -> tuple[Tensor, Tensor]:
    """See `RelevanceMethod.maps`.

    Raises:
        KMExError: when a relevance map is not finite, or the method cannot explain these images.
    """
    try:
        maps, expected = method.maps(model, images, z, targets, rows)
    except CannotExplain as reason:
        raise KMExError(str(reason)) from reason
    if not bool(maps.isfinite().all()):
        raise KMExError("Some relevance maps are not finite: the computation overflowed.")
    return maps, expected


class _Batch:
    """A few images with everything needed to score them."""

    def __init__(
        self, model: Decider, method: RelevanceMethod, indices: np.ndarray, images: Tensor, labels: Tensor
    ) -> None:
        self.model, self.method, self.indices, self.images, self.labels = model, method, indices, images, labels
        self.pixels = images.shape[2] * images.shape[3]
        self.rows = max(16, PIXELS_AT_ONCE // self.pixels)
        with torch.no_grad():
            self.outputs = _outputs(model, images)
            self.predicted = model.classify(self.outputs.similarity).argmax(1)
        self.black_box = self.outputs.black_box.argmax(1)

    def scores(
        self, baseline: Tensor, empty: _Outputs, members: Tensor, steps: int, seed: int
    ) -> dict[str, np.ndarray]:
        """The rows of `MapScores` for these images, and whether each relevance map conserves relevance."""
        count, device = len(self.images), self.images.device
        each = torch.arange(count, device=device)
        # every pair of an image and a prototype of its class, P in all; `slot` is its column in the result, (n, k)
        of_class = members[self.labels]
        image, slot = torch.nonzero(of_class >= 0, as_tuple=True)
        prototype = of_class[image, slot]
        # the model's relevance map of the black box's class is only another one where the predictions differ
        other = torch.nonzero(self.predicted != self.black_box)[:, 0]
        maps, conserving = self._maps(image, prototype, other)
        of_prototype, of_prediction, of_black_box, of_other = maps.split([len(image), count, count, len(other)])
        same_class = of_prediction.clone()
        same_class[other] = of_other
        # pixel orders: of the P pairs, of the n black-box and n model predictions, and n random ones
        ranks = torch.cat(
            [
                relevance_rank(of_prototype),
                relevance_rank(of_black_box),
                relevance_rank(of_prediction),
                self._random_ranks(seed),
            ]
        )
        # all masked images in one pass through the encoder: for AD and AI, the more relevant half of the pixels by the
        # P pairs and the n black-box predictions; for RO, every step between none and all by three orders per image
        least = self.pixels - int(self.pixels * LEAST)
        between = torch.from_numpy(pixel_counts(self.pixels, steps)[1:-1]).to(device)
        first = len(image) + torch.arange(3 * count, device=device)  # ranks by black box, by model, at random
        seen = self._masked(
            baseline,
            torch.cat([image, each, each.repeat(3).repeat_interleave(len(between))]),
            ranks,
            torch.cat([torch.arange(len(image) + count, device=device), first.repeat_interleave(len(between))]),
            torch.cat([between.new_full((len(image) + count,), least), between.repeat(3 * count)]),
        )
        # AD, AI: the similarity of each pair (P,) and the black box's probability (n,) before and after masking
        before = self.outputs.similarity[image, prototype]
        after = seen.similarity[: len(image)].gather(1, prototype[:, None])[:, 0]
        black_before = self.outputs.black_box[each, self.black_box]
        black_after = seen.black_box[len(image) : len(image) + count][each, self.black_box]
        # RO: probabilities by order, image and step, (3, n, steps − 1, C)
        shape = (3, count, len(between), -1)
        model_steps = seen.probability[len(image) + count :].view(*shape)
        black_steps = seen.black_box[len(image) + count :].view(*shape)

        def curve(by: int, values: Tensor, start: Tensor, end: Tensor, target: Tensor) -> np.ndarray:
            # both ends are known without masking: the baseline image and the image itself
            middle = values[by].gather(2, target[:, None, None].expand(-1, len(between), 1))[..., 0]
            whole = torch.cat([start[0, target][:, None], middle, end.gather(1, target[:, None])], 1)
            return whole.float().cpu().numpy()

        def by_slot(values: np.ndarray) -> np.ndarray:
            table = np.full(of_class.shape, np.nan)
            table[image.cpu().numpy(), slot.cpu().numpy()] = values
            return table

        s, t, b, d = (value.double().cpu().numpy() for value in (before, after, black_before, black_after))
        model_ends = (empty.probability, self.outputs.probability, self.predicted)
        black_ends = (empty.black_box, self.outputs.black_box, self.black_box)
        return {
            "images": np.asarray(self.indices, dtype=np.int64),
            "drop": by_slot(average_drop(s, t)),
            "increase": by_slot(average_increase(s, t)),
            "drop_black_box": average_drop(b, d),
            "increase_black_box": average_increase(b, d),
            "divergence": map_divergence(same_class, of_black_box).cpu().numpy(),
            "curve": curve(1, model_steps, *model_ends),
            "curve_random": curve(2, model_steps, *model_ends),
            "curve_black_box": curve(0, black_steps, *black_ends),
            "curve_black_box_random": curve(2, black_steps, *black_ends),
            "conserving": conserving,
        }

    def _maps(self, image: Tensor, prototype: Tensor, other: Tensor) -> tuple[Tensor, np.ndarray]:
        """Relevance maps of all pairs' similarities, of each image's prediction by the model and by the black box, and,
        for the images in `other`, of the black box's class by the model; and whether each conserves relevance."""
        each = torch.arange(len(self.images), device=image.device)
        count, classes = self.outputs.similarity.shape[1], self.outputs.black_box.shape[1]
        # outputs are numbered: K similarities, C scores of the black box, C probabilities by the prototypes
        targets = Targets(
            images=torch.cat([image, each, each, other]),
            outputs=torch.cat(
                [
                    prototype,
                    count + classes + self.predicted,
                    count + self.black_box,
                    count + classes + self.black_box[other],
                ]
            ),
            prototypes=count,
            classes=classes,
        )
        maps, expected = _finite_maps(self.method, self.model, self.images, self.outputs.z, targets, self.rows)
        expected = expected.double()
        conserves = (maps.double().sum((1, 2, 3)) - expected).abs() <= CONSERVATION_TOLERANCE * expected.abs()
        return maps, conserves.cpu().numpy()

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
                for name in ("z", "similarity", "probability", "black_box")
            )
        )
