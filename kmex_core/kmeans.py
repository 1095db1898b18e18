"""k-means with many starts at little cost.

16 k-means++ starts are tried on a lightweight coreset (Bachem, Lucic, Krause: Scalable k-Means Clustering via
Lightweight Coresets, KDD 2018), all at once as one batch of matrix products; the better half goes on twice, and the
rest is run to convergence on all points. Distances by matrix products are exact enough to assign points; the points are
centred first, so that no precision is lost to a large mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STARTS = 16
HALVINGS = 2
ROUNDS = 4
FINAL_ROUNDS = 100
CORESET = 1500
CORESET_PER_CLUSTER = 60


@dataclass(frozen=True, eq=False)
class Clusters:
    """A clustering of n points in k non-empty clusters, the largest first.

    Attributes:
        centers: (k, D) float32, the mean of each cluster.
        labels: (n,) int64, the nearest center of each point.
        inertia: sum of the squared distances to it.
    """

    centers: Tensor
    labels: Tensor
    inertia: float


def kmeans(points: Tensor, k: int, seed: int, starts: int = STARTS) -> Clusters:
    """Cluster points by k-means (Lloyd 1982; k-means++ starts, Arthur & Vassilvitskii 2007).

    Args:
        points: (n, D) float32, finite, n ≥ k.
        k: clusters, at least 1.
        seed: equal seeds give equal clusters on one machine.
        starts: how many starts are tried.

    Raises:
        ValueError: when k is not in 1…n, or there are fewer than k distinct points.
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"k must be between 1 and the number of points, {len(points)}, got {k}.")
    mean = points.double().mean(0).float()
    centred = points - mean
    squares = centred.square().sum(1)
    if k == 1:
        return Clusters(
            mean[None], torch.zeros(len(points), dtype=torch.int64, device=points.device), float(squares.double().sum())
        )
    random = torch.Generator().manual_seed(seed)
    sample, weights = _coreset(centred, squares, max(CORESET, CORESET_PER_CLUSTER * k), random)
    centers = _plus_plus(sample, weights, k, starts, random)
    for _ in range(HALVINGS):
        centers, inertia = _lloyd_batch(sample, weights, centers, ROUNDS)
        centers = centers[inertia.argsort()[: max(1, len(centers) // 2)]]
    tried = [_lloyd(centred, squares, start, ROUNDS) for start in centers]
    best = min(tried, key=lambda found: found.inertia)
    return _ordered(centred, _lloyd(centred, squares, best.centers, FINAL_ROUNDS), mean)


def _coreset(points: Tensor, squares: Tensor, size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A weighted sample: half uniform, half in proportion to the squared distance to the mean (here the origin)."""
    n = len(points)
    if n <= size:
        return points, torch.ones(n, device=points.device)
    share = (0.5 / n + 0.5 * squares.double() / squares.double().sum().clamp_min(1e-30)).cpu()
    chosen = torch.multinomial(share, size, replacement=True, generator=random)
    weights = (1 / (size * share[chosen])).float().to(points.device)
    return points[chosen.to(points.device)], weights


def _plus_plus(points: Tensor, weights: Tensor, k: int, starts: int, random: torch.Generator) -> Tensor:
    """k-means++ starts, (starts, k, D): each next center drawn in proportion to the squared distance to the nearest."""
    squares = points.square().sum(1)
    chosen = torch.multinomial(weights.cpu(), starts, replacement=True, generator=random).to(points.device)
    nearest = _squared(points, squares, points[chosen]).T
    picks = [chosen]
    for _ in range(k - 1):
        share = (nearest * weights).cpu().double()
        share += (share.sum(1, keepdim=True) <= 0) * 1.0
        chosen = torch.multinomial(share, 1, generator=random)[:, 0].to(points.device)
        nearest = torch.minimum(nearest, _squared(points, squares, points[chosen]).T)
        picks.append(chosen)
    return points[torch.stack(picks, 1)]


def _squared(points: Tensor, squares: Tensor, centers: Tensor) -> Tensor:
    """(n, k) squared distances by a matrix product."""
    distances = torch.addmm(squares[:, None] + centers.square().sum(1), points, centers.T, alpha=-2)
    return distances.clamp_min_(0)


def _lloyd_batch(points: Tensor, weights: Tensor, centers: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Some rounds of weighted Lloyd for several starts at once.

    Args:
        centers: (starts, k, D).

    Returns:
        The new centers, and the weighted inertia of each start before its last update.
    """
    starts, k, d = centers.shape
    squares = points.square().sum(1)
    inertia = torch.zeros(starts)
    for _ in range(rounds):
        distances = _squared(points, squares, centers.reshape(-1, d)).view(-1, starts, k)
        nearest, labels = distances.min(2)
        inertia = weights @ nearest
        member = torch.nn.functional.one_hot(labels, k).to(points.dtype) * weights[:, None, None]
        mass = member.sum(0)
        sums = (member.view(len(points), -1).T @ points).view(starts, k, d)
        centers = torch.where(mass[..., None] > 0, sums / mass[..., None].clamp_min(1e-30), centers)
    return centers, inertia


def _lloyd(points: Tensor, squares: Tensor, centers: Tensor, rounds: int) -> Clusters:
    """Lloyd on all points until none changes its cluster, or for some rounds; an empty cluster takes a far point."""
    k = len(centers)
    labels = torch.full((len(points),), -1, device=points.device)
    nearest = squares
    for _ in range(rounds):
        nearest, new = _squared(points, squares, centers).min(1)
        new = _without_empty(nearest, new, k)
        if torch.equal(new, labels):
            break
        labels = new
        member = torch.nn.functional.one_hot(labels, k).to(points.dtype)
        centers = (member.T @ points) / member.sum(0)[:, None]
    return Clusters(centers, labels, float(nearest.double().sum()))


def _without_empty(nearest: Tensor, labels: Tensor, k: int) -> Tensor:
    """Give each empty cluster the point that lies farthest from its center, of a cluster that keeps others."""
    counts = torch.bincount(labels, minlength=k)
    empty = torch.nonzero(counts == 0)[:, 0].tolist()
    if not empty:
        return labels
    labels = labels.clone()
    for point in nearest.argsort(descending=True).tolist():
        if not empty or nearest[point] <= 0:
            break
        if counts[labels[point]] > 1:
            counts[labels[point]] -= 1
            labels[point] = empty.pop()
            counts[labels[point]] += 1
    if empty:
        raise ValueError(f"There are fewer than {k} distinct points.")
    return labels


def _ordered(points: Tensor, found: Clusters, mean: Tensor) -> Clusters:
    """The largest cluster first; centers as exact means, moved back to the points' own place."""
    k = len(found.centers)
    counts = torch.bincount(found.labels, minlength=k)
    order = counts.argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(k, device=order.device)
    labels = place[found.labels]
    sums = torch.zeros(k, points.shape[1], device=points.device, dtype=torch.float64)
    sums.index_add_(0, labels, points.double())
    centers = sums / counts[order][:, None] + mean.double()
    return Clusters(centers.float(), labels, found.inertia)
