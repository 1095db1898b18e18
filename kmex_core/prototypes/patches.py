"""KMEx on patches: prototypes of positions in the last feature map, and a vote of all positions (paper A.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.networks.feature_maps import before_pooling
from kmex_core.networks.memory import in_portions
from kmex_core.prototypes.fit import EPSILON, at_most, pairwise, similarity
from kmex_core.prototypes.metric import EmbeddingMetric, mapped
from kmex_core.prototypes.types import PatchPrototypes

SAMPLE = 200_000
ROWS = 8192

Batches = Callable[[str, np.ndarray | None], Iterable[tuple[np.ndarray, Tensor, Tensor]]]


@dataclass(frozen=True)
class Vote:
    """The vote of the patches of N images.

    Attributes:
        predicted: (N,) the class with most patches; ties go to the smaller mean distance.
        votes: (N, C) the number of patches nearest to a prototype of each class.
        nearest: (N, P) the nearest prototype of each patch.
        distance: (N, P) its Euclidean distance.
    """

    predicted: Tensor
    votes: Tensor
    nearest: Tensor
    distance: Tensor


class PatchKMEx(nn.Module):
    """A classifier by the vote of patches: P = h · w positions in the last feature map before global average pooling.

    Args:
        encoder: images (N, 3, S, S) to embeddings (N, D), the mean of that feature map.
        image_size: S.
        metric: of the embedding; the mean of the mapped positions is the mapped embedding, except for "cosine".

    Raises:
        InputError: for a network that does not end in global average pooling (VGG, transformers), or whose last
            feature map has a single position at this size.
    """

    prototypes: Tensor
    prototype_class: Tensor
    metric_matrix: Tensor

    def __init__(self, encoder: nn.Module, image_size: int, metric: EmbeddingMetric | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.metric = metric or EmbeddingMetric()
        self._pool = before_pooling(encoder, image_size)
        if not self._pool:
            raise InputError(
                "Patches need a network that ends in global average pooling, such as ResNet, MobileNet or "
                "EfficientNet; this one does not."
            )
        with torch.no_grad():
            example = self.maps(torch.zeros(1, 3, image_size, image_size, device=next(encoder.parameters()).device))
        self.grid = (example.shape[2], example.shape[3])
        if self.grid == (1, 1):
            raise InputError(
                f"At {image_size}×{image_size} pixels, the last feature map has a single position, the whole image. "
                "Use larger images, or a network with a larger last feature map (resnet20)."
            )
        self.register_buffer("prototypes", torch.empty(0, example.shape[1]))
        self.register_buffer("prototype_class", torch.empty(0, dtype=torch.int64))
        matrix = torch.from_numpy(np.array(self.metric.matrix))
        self.register_buffer("metric_matrix", matrix.to(self.prototypes.device))
        self.classes = 0
        self.eval()

    def maps(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, D, h, w), the last feature map before pooling."""
        feature_maps: list[Tensor] = []
        pool = self.encoder.get_submodule(self._pool)
        handle = pool.register_forward_pre_hook(lambda _module, inputs: feature_maps.append(inputs[0]))
        try:
            self.encoder(images)
        finally:
            handle.remove()
        return feature_maps[0]

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, P, D), row by row of the feature map, in the prototypes' space."""
        positions = in_portions(self.maps, images).flatten(2).transpose(1, 2)
        return mapped(positions, self.metric.name, self.metric_matrix.to(positions.device))

    def similarity(self, z: Tensor) -> Tensor:
        """(N, P, D) patches to (N, P, K) similarities by KMEx's formula."""
        return similarity(pairwise(z.flatten(0, 1), self.prototypes), EPSILON).unflatten(0, z.shape[:2])

    def vote(self, z: Tensor) -> Vote:
        """(N, P, D) patches to their vote."""
        # the nearest prototype of each patch, in blocks of rows to bound memory
        flat = z.flatten(0, 1)  # (N · P, D)
        parts = [pairwise(flat[start : start + ROWS], self.prototypes).min(1) for start in range(0, len(flat), ROWS)]
        distance = torch.cat([part.values for part in parts]).view(z.shape[:2])
        nearest = torch.cat([part.indices for part in parts]).view(z.shape[:2])
        # count votes per class, and the mean distance of its voting patches: (N, C) each
        voted_class = self.prototype_class[nearest]  # (N, P)
        votes = torch.zeros(len(z), self.classes, device=z.device).scatter_add(
            1, voted_class, torch.ones_like(distance)
        )
        far = torch.zeros_like(votes).scatter_add(1, voted_class, distance) / votes.clamp(min=1)
        # among the classes with most votes, the one with the smallest mean distance wins
        leading = votes == votes.amax(1, keepdim=True)
        return Vote(far.masked_fill(~leading, torch.inf).argmin(1), votes.long(), nearest, distance)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, C) votes; only `vote` breaks ties."""
        return self.vote(self.encode(images)).votes.float()


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

    Memory is bounded: a class is clustered on at most `SAMPLE` patches, drawn as whole images.

    Args:
        model: without prototypes.
        batches: returns indices (n,), normalised images (n, 3, S, S) and labels (n,) of a split, for given images or
            (None) for all.
        labels: (N,) of the training split.
        classes: C.
        k: prototypes per class; a class with fewer different patches gets one per patch.
        seed: of k-means and of the choice of images.
        progress: called after each class and batch.

    Raises:
        InputError: when a class has no training images.
    """
    positions = model.grid[0] * model.grid[1]
    most = max(1, SAMPLE // positions)  # images per class
    centers = []
    with torch.no_grad():
        for label in range(classes):
            progress(Event("Finding patch prototypes", label, classes))
            rows = np.flatnonzero(labels == label)
            if len(rows) == 0:
                raise InputError(f"Class {label} has no training images. Add images, or leave the class out.")
            class_seed = int(np.random.SeedSequence([seed, label]).generate_state(1)[0])
            if len(rows) > most:
                rows = np.sort(np.random.default_rng(class_seed).choice(rows, most, replace=False))
            # (n · P, D) patches of the class's images
            points = torch.cat([model.encode(images).flatten(0, 1) for _, images, _ in batches("train", rows)])
            centers.append(at_most(points, k, class_seed))
        progress(Event("Finding patch prototypes", classes, classes))
        model.prototypes = torch.cat(centers)
        counts = torch.tensor([len(of_class) for of_class in centers], device=model.prototypes.device)
        model.prototype_class = torch.arange(classes, device=counts.device).repeat_interleave(counts)
        model.classes = classes
        return _described(model, _voted(model, batches("train", None)), len(labels), progress)


def _voted(
    model: PatchKMEx, batches: Iterable[tuple[np.ndarray, Tensor, Tensor]]
) -> Iterator[tuple[np.ndarray, Tensor, Vote]]:
    for indices, images, labels in batches:
        yield indices, labels.to(model.prototypes.device), model.vote(model.encode(images))


def _described(
    model: PatchKMEx, voted: Iterable[tuple[np.ndarray, Tensor, Vote]], total: int, progress: Progress
) -> PatchPrototypes:
    count = len(model.prototypes)
    best = torch.full((count,), torch.inf, device=model.prototypes.device)
    image, place = np.full(count, -1), np.full(count, -1)
    own_count = np.zeros(count, np.int64)
    sizes = np.zeros(model.classes, np.int64)
    done = 0
    for indices, labels, vote in voted:
        # count the patches that are nearest to a prototype of their own class
        same_class = model.prototype_class[vote.nearest] == labels[:, None]  # (n, P)
        own_count += torch.bincount(vote.nearest[same_class], minlength=count).cpu().numpy()
        sizes += torch.bincount(labels, minlength=model.classes).cpu().numpy() * vote.nearest.shape[1]
        # sort this batch's patches by distance: a prototype's first own-class patch is its nearest, the exemplar so far
        far = vote.distance.masked_fill(~same_class, torch.inf).flatten()
        order = far.argsort(stable=True)
        nearest = vote.nearest.flatten()[order]
        for p in torch.unique(nearest[far[order].isfinite()]).tolist():
            closest = int(order[int((nearest == p).nonzero()[0])])
            if far[closest] < best[p]:
                best[p] = far[closest]
                image[p], place[p] = int(indices[closest // vote.nearest.shape[1]]), closest % vote.nearest.shape[1]
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
    )
