"""Prototypes from an embedding: k-means per class, and the training images that describe each prototype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.kmeans import Clusters, clusterings
from kmex_core.prototypes.source import class_seed
from kmex_core.prototypes.types import NO_IMAGE, Prototypes

NEAREST = 12
EPSILON = 1e-4
ROWS = 16384
CACHED = 1024  # rows that stay in a processor's cache
MANY = 10_000_000  # differences between numbers
CANCELLED = 1e-8  # of the squared lengths: below, a product of float64 numbers is not exact to float32


def fit_prototypes(
    embeddings: Embeddings,
    class_names: Sequence[str],
    k: int | Sequence[int],
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> Prototypes:
    """k-means per class on the training embedding (paper 3.1), and the training images of each prototype.

    Within a class, the prototype of the largest cluster comes first. A class with fewer than `k` different embeddings
    gets one prototype per embedding; `types.fewer_prototypes` reports that.

    Args:
        embeddings: of the training split.
        class_names: C names; class c has the label c.
        k: prototypes per class, 1 or more; or C numbers, one for each class.
        seed: of k-means.
        device: a torch device.
        progress: called after each class.

    Raises:
        InputError: when a class has no images (the message names it), an embedding is not finite, a label is out of
            range, or `k` is not possible.
    """
    counts = [k] * len(class_names) if isinstance(k, int) else list(k)
    if len(counts) != len(class_names) or min(counts) < 1:
        raise InputError(f"Expected at least 1 prototype for each of {len(class_names)} classes, got {k}.")
    checked_sizes(embeddings, class_names)
    z = torch.from_numpy(embeddings.z).to(device)
    labels = torch.from_numpy(embeddings.labels).to(device)
    found = list(class_clusters(z, labels, [[count] for count in counts], seed, progress))
    centers = torch.cat([clusters.centers for (clusters,) in found]).cpu().numpy()  # (K, D)
    classes = np.repeat(np.arange(len(found)), [len(clusters.centers) for (clusters,) in found])
    return nearest_prototypes(embeddings, class_names, centers, classes, device)


def class_clusters(
    z: Tensor, labels: Tensor, ks: Sequence[Sequence[int]], seed: int, progress: Progress = silent
) -> Iterator[list[Clusters]]:
    """k-means on the images of each class, for several numbers of prototypes.

    Args:
        z: (N, D) embeddings in the space of the prototypes.
        labels: (N,) their classes; every class has images.
        ks: of each class, ascending.
        seed: of k-means.
        progress: called after each class.

    Yields:
        For each class the clusters of its images, in their order, for each of its `ks`.
    """
    for label, numbers in enumerate(ks):
        progress(Event("Finding prototypes", label, len(ks)))
        # one seed per class: a class's prototypes do not depend on the other classes
        yield clusterings(z[labels == label], numbers, class_seed(seed, label))
    progress(Event("Finding prototypes", len(ks), len(ks)))


def nearest_prototypes(
    embeddings: Embeddings, class_names: Sequence[str], centers: np.ndarray, classes: np.ndarray, device: str = "cpu"
) -> Prototypes:
    """Prototypes with Euclidean distances, described by the training split; see `describe_prototypes`."""
    place = torch.from_numpy(centers).to(device)
    return describe_prototypes(embeddings, class_names, centers, classes, lambda z: pairwise(z, place), device)


def describe_prototypes(
    embeddings: Embeddings,
    class_names: Sequence[str],
    centers: np.ndarray,
    classes: np.ndarray,
    distance: Callable[[Tensor], Tensor],
    device: str = "cpu",
) -> Prototypes:
    """Describe given prototypes by the training split.

    Args:
        embeddings: of the training split.
        class_names: C names.
        centers: (K, D) the prototypes.
        classes: (K,) their classes.
        distance: (n, D) embeddings to (n, K); an image activates the prototype with the lowest.
        device: a torch device.

    Raises:
        InputError: see `fit_prototypes`.
    """
    sizes = checked_sizes(embeddings, class_names)
    z, labels = torch.from_numpy(embeddings.z).to(device), torch.from_numpy(embeddings.labels).to(device)
    with torch.no_grad():
        return _described(z, labels, torch.from_numpy(centers).to(device), classes, sizes, embeddings.labels, distance)


def checked_sizes(embeddings: Embeddings, class_names: Sequence[str]) -> np.ndarray:
    labels = embeddings.labels
    if len(labels) and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise InputError(f"Expected labels from 0 to {len(class_names) - 1}, got {labels.min()} to {labels.max()}.")
    sizes = np.bincount(labels, minlength=len(class_names))
    empty = [f"'{name}'" for name, size in zip(class_names, sizes, strict=True) if size == 0]
    if empty:
        shown = first_few(empty, 5)
        raise InputError(
            f"Every class needs at least one training image. Classes without images: {shown}. Add images, or train "
            "without these classes."
        )
    bad = int((~np.isfinite(embeddings.z).all(1)).sum())
    if bad:
        raise InputError(f"{bad:,} of {len(labels):,} embeddings are not finite (NaN or infinite).")
    return sizes


def pairwise(z: Tensor, centers: Tensor) -> Tensor:
    """(N, K) Euclidean distances of (N, D) to (K, D), exact to float32: equal vectors have distance 0.

    In float32, the usual matrix product gives 1e-3 … 1e-2 instead of 0.
    """
    if torch.compiler.is_exporting():  # a graph takes any number of rows, and has no choice by their number
        return (z[:, None] - centers).square().sum(2).sqrt()
    many = len(z) * len(centers) * z.shape[1] >= MANY
    if not many or z.device.type != "cpu" or z.requires_grad or centers.requires_grad:
        return torch.cdist(z, centers, compute_mode="donot_use_mm_for_euclid_dist")
    return by_products(z, centers)


def by_products(z: Tensor, centers: Tensor) -> Tensor:
    """`pairwise` by products of float64 numbers: on CPUs several times as fast as differences of float32 ones."""
    places = centers.double()
    middle = places.mean(0)
    places -= middle
    lengths, parts = places.square().sum(1), []
    for rows in z.split(ROWS):
        points = rows.double() - middle
        scale = points.square().sum(1)[:, None] + lengths
        squared = torch.addmm(scale, points, places.T, alpha=-2)
        # what cancels nearly all digits is computed from the difference, so that equal vectors have distance 0
        near, to = torch.nonzero(squared <= CANCELLED * scale, as_tuple=True)
        squared[near, to] = (points[near] - places[to]).square().sum(1)
        parts.append(squared.sqrt().to(z.dtype))
    return torch.cat(parts)


def similarity(distance: Tensor, epsilon: float = EPSILON, squared: bool = True) -> Tensor:
    """s = log((d² + 1) / (d² + ε)) (paper 3.1), with the unsquared distance in place of d² when `squared` is False.

    Computed as log1p((1 − ε) / (d² + ε)): far prototypes stay distinct where the quotient would round to 1.
    """
    d = distance.square() if squared else distance
    ratio = (1 - epsilon) / (d + epsilon)
    if torch.compiler.is_exporting():
        # the same: translated as log(1 + x), log1p would lose what is far
        return torch.where(ratio < 1, 2 * torch.atanh(ratio / (2 + ratio)), torch.log(1 + ratio))
    return torch.log1p(ratio)


def class_members(prototype_class: Tensor, classes: int) -> Tensor:
    """(C, k) int64, the prototypes of each of C classes; classes with fewer than k are padded with −1."""
    counts = torch.bincount(prototype_class, minlength=classes)
    members = torch.full((classes, int(counts.max())), -1, dtype=torch.int64, device=prototype_class.device)
    order = prototype_class.argsort(stable=True)
    # position of each prototype within its class: its rank in the sorted list less the start of the class's block
    place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[prototype_class[order]]
    members[prototype_class[order], place] = order
    return members


def attracted(
    embeddings: Embeddings, prototypes: Prototypes, p: int, distance: Callable[[Tensor], Tensor] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The training images whose nearest prototype is `p`: those of its class, and those of other classes.

    Args:
        embeddings: of the training split.
        prototypes: K prototypes.
        p: the index of one.
        distance: (n, D) embeddings to (n, K); Euclidean when None.

    Returns:
        Two vectors of indices, each nearest first.
    """
    rows = np.flatnonzero(prototypes.activated == p)
    z = torch.from_numpy(embeddings.z[rows])
    with torch.no_grad():
        far = (
            (
                pairwise(z, torch.from_numpy(prototypes.centers[p : p + 1]))[:, 0]
                if distance is None
                else distance(z)[:, p]
            )
            .cpu()
            .numpy()
        )
    rows = rows[far.argsort(kind="stable")]
    same_class = embeddings.labels[rows] == prototypes.classes[p]
    return rows[same_class], rows[~same_class]


def activated(z: np.ndarray, centers: np.ndarray, device: str = "cpu") -> np.ndarray:
    """(N,) int64, the nearest of K prototypes (K, D) for each embedding (N, D)."""
    place = torch.from_numpy(centers).to(device)
    parts = [
        pairwise(torch.from_numpy(z[start : start + ROWS]).to(device), place).argmin(1).cpu()
        for start in range(0, len(z), ROWS)
    ]
    return torch.cat(parts).numpy()


def nearest_distance(z: np.ndarray, centers: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """(N,) float32, the Euclidean distance of embeddings (N, D) to the prototypes `nearest` (N,) of (K, D)."""
    places, which = torch.from_numpy(centers), torch.from_numpy(nearest)
    pieces = zip(torch.from_numpy(z).split(CACHED), which.split(CACHED), strict=True)
    return torch.cat([torch.linalg.vector_norm(x - places[of], dim=1) for x, of in pieces]).numpy()


def activation_counts(activated: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of training images that activate each prototype: of its own class, and in all.

    Args:
        activated: (N,) the most similar of all K prototypes, for each image.
        labels: (N,) the images' classes.
        classes: (K,) the prototypes' classes.

    Returns:
        Two (K,) int64 arrays: images of the own class, images of any class.
    """
    same_class = labels == classes[activated]
    return np.bincount(activated[same_class], minlength=len(classes)), np.bincount(activated, minlength=len(classes))


def _described(
    z: Tensor,
    labels: Tensor,
    centers: Tensor,
    classes: np.ndarray,
    sizes: np.ndarray,
    host_labels: np.ndarray,
    distance: Callable[[Tensor], Tensor],
) -> Prototypes:
    """One pass over the images in blocks of rows: memory does not grow with N · K."""
    count = len(centers)
    prototype_class = torch.from_numpy(classes).to(z.device)
    # per prototype, over the blocks seen so far: the nearest images of its class (K, M), and of any class (K,)
    best_distance = torch.full((count, NEAREST), torch.inf, device=z.device)
    best_index = torch.full((count, NEAREST), NO_IMAGE, device=z.device)
    any_distance = torch.full((count,), torch.inf, device=z.device)
    any_index = torch.full((count,), NO_IMAGE, device=z.device)
    activated, nearest = [], []
    for start in range(0, len(z), ROWS):
        distances = distance(z[start : start + ROWS])  # (n, K)
        # per image: the prototype it activates
        low, which = distances.min(1)
        nearest.append(low)
        activated.append(which)
        # per prototype: the nearest image of any class, before other classes are masked
        low, row = distances.min(0)
        closer = low < any_distance
        any_distance = torch.where(closer, low, any_distance)
        any_index = torch.where(closer, row + start, any_index)
        # per prototype: merge this block's nearest images of the own class with the best so far, (K, 2 M) to (K, M)
        distances[labels[start : start + ROWS, None] != prototype_class] = torch.inf
        low, row = distances.topk(min(NEAREST, len(distances)), dim=0, largest=False)
        merged = torch.cat([best_distance, low.T], 1)
        index = torch.cat([best_index, row.T + start], 1)
        best_distance, place = merged.sort(dim=1, stable=True)
        best_distance, place = best_distance[:, :NEAREST], place[:, :NEAREST]
        best_index = index.gather(1, place)
    # small classes have fewer than M images: the masked ones of other classes must not fill the list
    best_index[best_distance.isinf()] = NO_IMAGE
    chosen = torch.cat(activated).cpu().numpy()
    own_count, all_count = activation_counts(chosen, host_labels, classes)
    quantiles = np.quantile(torch.cat(nearest).cpu().numpy(), np.linspace(0, 1, 101))
    return Prototypes(
        centers=centers.cpu().numpy(),
        classes=classes,
        count=own_count,
        importance=own_count / sizes[classes],
        count_all=all_count,
        nearest=best_index.cpu().numpy(),
        nearest_distance=best_distance.cpu().numpy(),
        nearest_any=any_index.cpu().numpy(),
        distance_quantiles=quantiles.astype(np.float32),
        class_size=sizes,
        activated=chosen.astype(np.int32),
    )
