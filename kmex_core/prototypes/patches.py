"""KMEx on patches: prototypes of positions of feature maps, and what an image's positions say of its class.

Paper A.4, and concept maps (Boubekki & Clemmensen: Post-hoc Self-Explanation of CNNs, arXiv 2603.28466, 2026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.networks.feature_maps import before_pooling, last_maps
from kmex_core.networks.memory import Portions, in_portions
from kmex_core.networks.passes import device_of
from kmex_core.prototypes.fit import pairwise
from kmex_core.prototypes.kmeans import kmeans
from kmex_core.prototypes.metric import EmbeddingMetric, mapped
from kmex_core.prototypes.source import class_seed
from kmex_core.prototypes.types import BLOCKS, LAST, SEVERAL, ConceptMap, PatchPrototypes

SAMPLE = 50_000  # positions per class that k-means sees
SCALE_IMAGES = 2_000  # training images that the blocks' scales are measured on
LEAST = 4  # positions per side: below, they say little more than the whole image
STAGES = {LAST: 1, SEVERAL: 3}
ROWS = 8192

Batches = Callable[[str, np.ndarray | None], Iterable[tuple[np.ndarray, Tensor, Tensor]]]


@dataclass(frozen=True)
class Decision:
    """What the patches of N images say of their class, by two rules.

    Attributes:
        scores: (N, C) the mean over the patches of the similarity (−d², at most 0) to the nearest prototype of each
            class.
        predicted: (N,) the class with the highest score.
        votes: (N, C) the number of patches nearest to a prototype of each class.
        voted: (N,) the class with most patches; ties go to the smaller mean distance.
        nearest: (N, P) the nearest prototype of each patch.
        distance: (N, P) its Euclidean distance.
    """

    scores: Tensor
    predicted: Tensor
    votes: Tensor
    voted: Tensor
    nearest: Tensor
    distance: Tensor


class PatchKMEx(nn.Module):
    """A classifier by patches: the P = h · w positions of the last feature map, or of those of the last three stages.

    The feature maps of several stages are resized to the finest one (bilinear, corners not aligned) and concatenated,
    each divided by its scale, see `fit_patches`. The last feature map alone keeps its scale: divided by a number, all
    distances would be, and its patches would no longer be in the space of the embedding.

    Args:
        encoder: images (N, 3, S, S) to embeddings (N, D).
        image_size: S.
        metric: of the embedding, for "last": the mean of the mapped positions is the mapped embedding, except for
            "cosine".
        blocks: "last", or "several": as many of the last three stages as the network has, at least two.

    Raises:
        InputError: for "last", when the network does not end in global average pooling (VGG, transformers); for
            "several", when it has no feature maps of different sizes; when the finest feature map has fewer than 4 × 4
            positions at this size; for other `blocks`.
    """

    prototypes: Tensor
    prototype_class: Tensor
    metric_matrix: Tensor
    scales: Tensor

    def __init__(
        self, encoder: nn.Module, image_size: int, metric: EmbeddingMetric | None = None, blocks: str = LAST
    ) -> None:
        super().__init__()
        if blocks not in BLOCKS:
            raise unknown_name("choice of blocks", blocks, BLOCKS)
        self.encoder = encoder
        self.metric = metric or EmbeddingMetric()
        self._pool = before_pooling(encoder, image_size)
        stages = last_maps(encoder, image_size, STAGES[blocks])
        if blocks == LAST and not self._pool:
            raise InputError(
                "Patches of the last block need a network that ends in global average pooling, such as ResNet or "
                "EfficientNet; this one does not. Use several blocks."
            )
        if blocks == SEVERAL and len(stages) < 2:
            raise InputError(
                "Patches of several blocks need a convolutional network with feature maps of different sizes; this one "
                f"has {len(stages)} at {image_size}×{image_size} pixels."
            )
        # the last feature map is what is pooled, even where a function stands between the last module and the pooling
        self._stages = [(name, side) for name, _, side in (stages[:-1] if self._pool else stages)]
        device = device_of(encoder)
        with torch.no_grad():
            examples = self.feature_maps(torch.zeros(1, 3, image_size, image_size, device=device))
        self.grid = (examples[0].shape[2], examples[0].shape[3])
        if min(self.grid) < LEAST:
            raise InputError(_too_coarse(blocks, image_size, self.grid))
        self.channels = tuple(example.shape[1] for example in examples)
        self.register_buffer("scales", torch.ones(len(examples), device=device))
        self.register_buffer("prototypes", torch.empty(0, sum(self.channels), device=device))
        self.register_buffer("prototype_class", torch.empty(0, dtype=torch.int64, device=device))
        self.register_buffer("metric_matrix", torch.from_numpy(np.array(self.metric.matrix)).to(device))
        self.classes = 0
        self.eval()

    def take(self, prototypes: PatchPrototypes, classes: int) -> None:
        """Take over the prototypes and scales of a result for `classes` classes."""
        device = self.scales.device
        self.scales = torch.from_numpy(prototypes.scales).to(device)
        self.prototypes = torch.from_numpy(prototypes.centers).to(device)
        self.prototype_class = torch.from_numpy(prototypes.classes).to(device)
        self.classes = classes

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """(N, 3, S, S) normalised images to the blocks' feature maps (N, D_b, h_b, w_b), the finest first."""
        taken: dict[tuple[str, int], Tensor] = {}

        def keep(name: str, side: int, out: Tensor) -> None:
            if out.shape[2] == side:  # a module that runs at several sizes, such as a shared ReLU
                taken[name, side] = out

        handles = [
            self.encoder.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, out, name=name, side=side: keep(name, side, out)
            )
            for name, side in self._stages
        ]
        if self._pool:
            pool = self.encoder.get_submodule(self._pool)
            handles.append(
                pool.register_forward_pre_hook(lambda _module, inputs: taken.__setitem__((self._pool, 0), inputs[0]))
            )
        try:
            self.encoder(images)
        finally:
            for handle in handles:
                handle.remove()
        return [taken[stage] for stage in ([*self._stages, (self._pool, 0)] if self._pool else self._stages)]

    def maps(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, D, h, w), the scaled feature maps at the size of the finest."""
        blocks = [
            feature_map if feature_map.shape[2:] == self.grid else _resized(feature_map, self.grid)
            for feature_map in self.feature_maps(images)
        ]
        return torch.cat([block / scale for block, scale in zip(blocks, self.scales, strict=True)], 1)

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, P, D), row by row of the grid, in the prototypes' space."""
        positions = in_portions(self.maps, images).flatten(2).transpose(1, 2)
        return mapped(positions, self.metric.name, self.metric_matrix)

    def decide(self, z: Tensor) -> Decision:
        """(N, P, D) patches to what they say of each image's class."""
        # a few images at a time bound the memory of the distances to all prototypes
        some = max(1, ROWS // z.shape[1])
        parts = [self._decided(z[start : start + some]) for start in range(0, len(z), some)]
        return Decision(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _decided(self, z: Tensor) -> tuple[Tensor, ...]:
        distances = pairwise(z.flatten(0, 1), self.prototypes)  # (n · P, K)
        # mean similarity: the nearest prototype of each class is the most similar one, (n · P, C)
        of_class = torch.full((len(distances), self.classes), torch.inf, device=z.device).scatter_reduce(
            1, self.prototype_class.expand_as(distances), distances, "amin"
        )
        scores = position_similarity(of_class).unflatten(0, z.shape[:2]).mean(1)  # (n, C)
        # majority vote: count the patches per class, and the mean distance of its voting patches, (n, C) each
        distance, nearest = (values.view(z.shape[:2]) for values in distances.min(1))
        voted_class = self.prototype_class[nearest]  # (n, P)
        votes = torch.zeros_like(scores).scatter_add(1, voted_class, torch.ones_like(distance))
        far = torch.zeros_like(scores).scatter_add(1, voted_class, distance) / votes.clamp(min=1)
        # among the classes with most votes, the one with the smallest mean distance wins
        leading = votes == votes.amax(1, keepdim=True)
        voted = far.masked_fill(~leading, torch.inf).argmin(1)
        return scores, scores.argmax(1), votes.long(), voted, nearest, distance

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, C) scores: the mean similarity to each class's nearest prototypes."""
        return self.decide(self.encode(images)).scores

    def concept_map(self, image: Tensor) -> ConceptMap:
        """The concept map of one normalised image, (1, 3, S, S). No gradient is computed.

        Raises:
            ValueError: for several images.
        """
        if len(image) != 1:
            raise ValueError(f"Expected one image, got {len(image)}.")
        with torch.no_grad():
            z = self.encode(image.to(self.scales.device))
            decision = self.decide(z)
            predicted = int(decision.predicted[0])
            own = self.prototypes[self.prototype_class == predicted]
            attribution = position_similarity(pairwise(z[0], own).amin(1))  # (P,)
        return ConceptMap(
            nearest=decision.nearest[0].view(self.grid).cpu().numpy(),
            classes=self.prototype_class[decision.nearest[0]].view(self.grid).cpu().numpy(),
            attribution=attribution.view(self.grid).cpu().numpy(),
            scores=decision.scores[0].cpu().numpy(),
            votes=decision.votes[0].cpu().numpy(),
            predicted=predicted,
            voted=int(decision.voted[0]),
        )


def position_similarity(distance: Tensor) -> Tensor:
    """−d², the similarity of a position to a prototype at a Euclidean distance, in any shape; 0 at the prototype.

    It is linear in the position but for ‖z‖², which all prototypes share: with one prototype per class, its mean over
    the positions ranks the classes as the pooled embedding does. KMEx's log((d² + 1) / (d² + ε)) is steep near 0, so a
    few positions of the background that happen to be next to a prototype would outweigh all others.
    """
    return -distance.square()


def _resized(feature_map: Tensor, grid: tuple[int, int]) -> Tensor:
    return nn.functional.interpolate(feature_map, grid, mode="bilinear", align_corners=False)


def _too_coarse(blocks: str, image_size: int, grid: tuple[int, int]) -> str:
    what, instead = (
        (
            "the last feature map",
            "several blocks, larger images, or a network with a larger last feature map (resnet20)",
        )
        if blocks == LAST
        else ("the finest of the last three feature maps", "larger images, or a network for small ones (resnet20)")
    )
    return (
        f"At {image_size}×{image_size} pixels, {what} has {grid[0]}×{grid[1]} positions; patches need at least "
        f"{LEAST}×{LEAST}. Use {instead}."
    )


def fit_patches(
    model: PatchKMEx,
    batches: Batches,
    labels: np.ndarray,
    classes: int,
    k: int,
    seed: int = 0,
    progress: Progress = silent,
) -> PatchPrototypes:
    """k-means on the patches of each class; sets the model's prototypes and describes each of them.

    Of several blocks, each is divided by its scale: the root of its mean channel variance over the positions of at most
    `SCALE_IMAGES` training images, evenly spread. Memory is bounded: a class is clustered on at most `SAMPLE` patches,
    equally many random ones of each image (of at most `SAMPLE` images).

    Args:
        model: without prototypes.
        batches: returns indices (n,), normalised images (n, 3, S, S) and labels (n,) of a split, for given images or
            (None) for all.
        labels: (N,) of the training split.
        classes: C.
        k: prototypes per class; a class with fewer different patches gets one per patch.
        seed: of k-means and of the choice of patches.
        progress: called after each class and batch.

    Raises:
        InputError: when a class has no training images.
    """
    centers = []
    with torch.no_grad():
        if len(model.channels) > 1:
            model.scales = _scales(model, batches, len(labels), progress)
        for label in range(classes):
            progress(Event("Finding patch prototypes", label, classes))
            rows = np.flatnonzero(labels == label)
            if len(rows) == 0:
                raise InputError(f"Class {label} has no training images. Add images, or leave the class out.")
            of_class = class_seed(seed, label)
            points = _sampled(model, batches, rows, np.random.default_rng(of_class))
            centers.append(kmeans(points, k, of_class).centers)
        progress(Event("Finding patch prototypes", classes, classes))
        model.prototypes = torch.cat(centers)
        counts = torch.tensor([len(of_class) for of_class in centers], device=model.prototypes.device)
        model.prototype_class = torch.arange(classes, device=counts.device).repeat_interleave(counts)
        model.classes = classes
        return _described(model, _decided(model, batches("train", None)), len(labels), progress)


def _scales(model: PatchKMEx, batches: Batches, total: int, progress: Progress) -> Tensor:
    """(B,) the root of each block's mean channel variance, over its own positions; 1 for a block that is constant."""
    rows = np.unique(np.linspace(0, total - 1, min(total, SCALE_IMAGES)).astype(int))
    # float64 sums of the values and their squares by channel: one pass, and only one batch in memory
    sums = [torch.zeros(2, channels, dtype=torch.float64) for channels in model.channels]
    counts, done = [0] * len(sums), 0
    for _, images, _ in batches("train", rows):
        for blocks in _portions(model, images):
            for b, block in enumerate(blocks):
                values = block.double()
                sums[b] += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]).cpu()
                counts[b] += block.shape[0] * block.shape[2] * block.shape[3]
        done += len(images)
        progress(Event("Measuring feature maps", done, len(rows)))
    variances = []
    for of_block, count in zip(sums, counts, strict=True):
        mean, squares = of_block / count  # (D_b,) each
        variances.append((squares - mean.square()).clamp(min=0).mean())
    scales = torch.stack(variances).sqrt().float()
    return torch.where(scales > 0, scales, 1).to(model.scales.device)


def _portions(model: PatchKMEx, images: Tensor) -> Iterator[list[Tensor]]:
    """The feature maps of a batch, in portions that fit into free memory."""
    portions = Portions.fitting(model.feature_maps, images)
    return portions.over(len(images), lambda part: model.feature_maps(images[part]))


def _sampled(model: PatchKMEx, batches: Batches, rows: np.ndarray, random: np.random.Generator) -> Tensor:
    """(n, D) at most `SAMPLE` patches of some training images, equally many of each."""
    if len(rows) > SAMPLE:
        rows = np.sort(random.choice(rows, SAMPLE, replace=False))
    positions = model.grid[0] * model.grid[1]
    each = min(positions, SAMPLE // len(rows))
    points = []
    for _, images, _ in batches("train", rows):
        z = model.encode(images)  # (n, P, D)
        if each < positions:
            places = np.sort(random.random((len(z), positions)).argpartition(each, 1)[:, :each], 1)
            z = z[torch.arange(len(z))[:, None], torch.from_numpy(places)]  # (n, each, D)
        points.append(z.flatten(0, 1))
    return torch.cat(points)


def _decided(
    model: PatchKMEx, batches: Iterable[tuple[np.ndarray, Tensor, Tensor]]
) -> Iterator[tuple[np.ndarray, Tensor, Decision]]:
    for indices, images, labels in batches:
        yield indices, labels.to(model.prototypes.device), model.decide(model.encode(images))


def _described(
    model: PatchKMEx, decided: Iterable[tuple[np.ndarray, Tensor, Decision]], total: int, progress: Progress
) -> PatchPrototypes:
    count = len(model.prototypes)
    best = torch.full((count,), torch.inf, device=model.prototypes.device)
    image, place = np.full(count, -1), np.full(count, -1)
    own_count = np.zeros(count, np.int64)
    sizes = np.zeros(model.classes, np.int64)
    done = 0
    for indices, labels, decision in decided:
        # count the patches that are nearest to a prototype of their own class
        same_class = model.prototype_class[decision.nearest] == labels[:, None]  # (n, P)
        own_count += torch.bincount(decision.nearest[same_class], minlength=count).cpu().numpy()
        sizes += torch.bincount(labels, minlength=model.classes).cpu().numpy() * decision.nearest.shape[1]
        # sort this batch's patches by distance: a prototype's first own-class patch is its nearest, the exemplar so far
        far = decision.distance.masked_fill(~same_class, torch.inf).flatten()
        order = far.argsort(stable=True)
        nearest = decision.nearest.flatten()[order]
        for p in torch.unique(nearest[far[order].isfinite()]).tolist():
            closest = int(order[int((nearest == p).nonzero()[0])])
            if far[closest] < best[p]:
                best[p] = far[closest]
                image[p], place[p] = (
                    int(indices[closest // decision.nearest.shape[1]]),
                    closest % decision.nearest.shape[1],
                )
        done += len(indices)
        progress(Event("Assigning patches", done, total))
    classes = model.prototype_class.cpu().numpy()
    return PatchPrototypes(
        centers=model.prototypes.cpu().numpy(),
        classes=classes,
        count=own_count,
        importance=own_count / np.maximum(sizes[classes], 1),
        image=image,
        place=place,
        grid=np.array(model.grid),
        channels=np.array(model.channels),
        scales=model.scales.cpu().numpy(),
    )
