"""k-means with many starts at little cost.

Greedy k-means++ draws many starts on a lightweight coreset (Bachem, Lucic, Krause: Scalable k-Means Clustering via
Lightweight Coresets, KDD 2018), all at once as one batch of matrix products, and a few rounds of Lloyd on the
coreset rank them. The best starts, as they were drawn, run for a few rounds on the points, and the best of these to
convergence. (The coreset's means only rank: measured in 512 dimensions, the points end in worse optima when they start
from them.) Distances by matrix products are exact enough to assign points; the points are centred first to lose no
precision to a large mean. Of very many points, a random part is clustered first, and all of them then need few rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MANY = 12  # clusters
STARTS = (16, 24)  # drawn for few and for many clusters
KEPT = (4, 6)  # of them, tried on the points
RANKING_ROUNDS = 3
ROUNDS = (20, 4)  # for few points, which the coreset is all of, and for many
FINAL_ROUNDS = 100
CORESET = 1500
CORESET_PER_CLUSTER = 60
SUBSET = 10_000
TOLERANCE = 1e-4  # of the inertia
ROWS = 16384
SLACK = 1e-4  # of a distance, for float32 rounding


@dataclass(frozen=True, eq=False)
class Clusters:
    """A clustering of n points in k non-empty clusters, the largest first.

    Attributes:
        centers: (k, D) float32, the mean of each cluster.
        labels: (n,) int64, the cluster of each point: its nearest center, up to a last small move of the centers.
        inertia: sum of the squared distances to their centers.
    """

    centers: Tensor
    labels: Tensor
    inertia: float


def kmeans(points: Tensor, k: int, seed: int) -> Clusters:
    """Cluster points by k-means (Lloyd 1982; greedy k-means++ starts, Arthur & Vassilvitskii 2007).

    Args:
        points: (n, D) float32, finite, n ≥ k.
        k: clusters, at least 1.
        seed: equal seeds give equal clusters on one machine.

    Raises:
        ValueError: when k is not in 1…n, or there are fewer than k distinct points.
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"k must be between 1 and the number of points, {len(points)}, got {k}.")
    # centre: distances by matrix products lose digits to a large mean
    mean = points.mean(0, dtype=torch.float64).float()
    centred = points - mean
    squares = torch.linalg.vector_norm(centred, dim=1).square_()
    if k == 1:
        return Clusters(
            mean[None],
            torch.zeros(len(points), dtype=torch.int64, device=points.device),
            float(squares.sum(dtype=torch.float64)),
        )
    # many starts on few points, ranked by their inertia after some rounds
    random = torch.Generator().manual_seed(seed)
    sample, weights = _coreset(centred, squares, max(CORESET, CORESET_PER_CLUSTER * k), random)
    starts = _greedy_plus_plus(sample, weights, k, STARTS[k >= MANY], random)  # (starts, k, D)
    starts = starts[_inertia(sample, weights, starts, RANKING_ROUNDS).argsort()[: KEPT[k >= MANY]]]
    # the best starts on (a part of) the points themselves; the best of these runs to convergence
    few = len(points) <= SUBSET
    rows = slice(None) if few else torch.randperm(len(points), generator=random)[:SUBSET].to(points.device)
    part, part_squares = centred[rows], squares[rows]
    rounds = ROUNDS[len(sample) < len(points)]
    tried = [_lloyd(part, part_squares, start, rounds) for start in starts]
    best = min(tried, key=lambda clusters: clusters.inertia)
    best = _lloyd(part, part_squares, best.centers, FINAL_ROUNDS, 0.0 if few else TOLERANCE / 4)
    return _ordered(best if few else _lloyd(centred, squares, best.centers, FINAL_ROUNDS, TOLERANCE), mean)


def _coreset(points: Tensor, squares: Tensor, size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A weighted sample: half uniform, half in proportion to the squared distance to the mean (here the origin)."""
    n = len(points)
    if n <= size:
        return points, torch.ones(n, device=points.device)
    # sampling probability q(x) = 1/2n + d(x)² / 2Σd²; weight 1 / (m q(x)) keeps the inertia unbiased
    share = (0.5 / n + 0.5 * squares.double() / squares.double().sum().clamp_min(1e-30)).cpu()
    chosen = torch.multinomial(share, size, replacement=True, generator=random)
    weights = (1 / (size * share[chosen])).float().to(points.device)
    return points[chosen.to(points.device)], weights


def _greedy_plus_plus(points: Tensor, weights: Tensor, k: int, starts: int, random: torch.Generator) -> Tensor:
    """Greedy k-means++ starts, (starts, k, D), as scikit-learn's.

    For each next center, 2 + ⌊ln k⌋ candidates are drawn in proportion to the squared distance to the nearest center;
    the one that lowers the potential (the weighted sum of these distances) most is taken.
    """
    squares = points.square().sum(1)
    candidates = 2 + int(math.log(k))
    chosen = torch.multinomial(weights.cpu(), starts, replacement=True, generator=random).to(points.device)
    nearest = _squared(points, squares, points[chosen]).T  # (starts, n)
    picks = [chosen]  # k times (starts,)
    for _ in range(k - 1):
        share = (nearest * weights).cpu().double()
        # every point coincides with a center already: draw uniformly instead of failing
        share += (share.sum(1, keepdim=True) <= 0) * 1.0
        drawn = torch.multinomial(share, candidates, replacement=True, generator=random).to(points.device)
        nearest, best = _greedy_choice(points, squares, weights, nearest, drawn)
        picks.append(drawn.gather(1, best[:, None])[:, 0])
    return points[torch.stack(picks, 1)]


def _greedy_choice(
    points: Tensor, squares: Tensor, weights: Tensor, nearest: Tensor, drawn: Tensor
) -> tuple[Tensor, Tensor]:
    """The candidate that lowers each start's potential most.

    Args:
        points, squares, weights: (n, D), (n,) squared norms, (n,).
        nearest: (starts, n) squared distance of each point to its nearest center so far.
        drawn: (starts, candidates) indices of points.

    Returns:
        (starts, n) squared distances to the nearest center with the chosen one, and (starts,) which candidate it is.
    """
    distances = _squared(points, squares, points[drawn.flatten()]).T.view(*drawn.shape, -1)  # (starts, candidates, n)
    with_candidate = torch.minimum(distances, nearest[:, None])
    best = (with_candidate @ weights).argmin(1)
    return with_candidate[torch.arange(len(best), device=best.device), best], best


def _squared(points: Tensor, squares: Tensor, centers: Tensor) -> Tensor:
    """(n, k) squared distances ‖x‖² + ‖c‖² − 2 x·c by a matrix product; rounding below 0 is clipped."""
    distances = torch.addmm(squares[:, None] + centers.square().sum(1), points, centers.T, alpha=-2)
    return distances.clamp_min_(0)


def _inertia(points: Tensor, weights: Tensor, centers: Tensor, rounds: int) -> Tensor:
    """(starts,) weighted inertia of several starts (starts, k, D) after some rounds of weighted Lloyd, all at once."""
    starts, k, d = centers.shape
    squares = points.square().sum(1)
    for left in range(rounds, -1, -1):
        distances = _squared(points, squares, centers.reshape(-1, d)).view(-1, starts, k)
        nearest, labels = distances.min(2)  # (n, starts)
        if left == 0:
            break
        # weighted means as one matrix product; a cluster without points keeps its center
        member = torch.nn.functional.one_hot(labels, k).to(points.dtype) * weights[:, None, None]
        mass = member.sum(0)
        sums = (member.view(len(points), -1).T @ points).view(starts, k, d)
        centers = torch.where(mass[..., None] > 0, sums / mass[..., None].clamp_min(1e-30), centers)
    return weights @ nearest


def _lloyd(points: Tensor, squares: Tensor, centers: Tensor, rounds: int, tolerance: float = 0.0) -> Clusters:
    """Lloyd on all points until none changes its cluster, or for `rounds` rounds; an empty cluster takes a far point.

    With a tolerance, it also ends when a round lowers the inertia by less than that share of it.

    After the centers have moved, the earlier distances bound the new ones, and only points that may now be nearer to
    another center are compared again (Hamerly: Making k-means Even Faster, SDM 2010). The result is Lloyd's.
    """
    n, k = len(points), len(centers)
    everyone = torch.arange(n, device=points.device)
    # Hamerly's bounds: at most `upper` from the own center, at least `lower` from every other one, (n,)
    upper, lower, labels = _two_nearest(points, squares, centers, everyone)
    labels = _without_empty(upper, labels, k)
    sums = _summed(points, everyone, torch.nn.functional.one_hot(labels, k))
    total, before = float(squares.sum(dtype=torch.float64)), torch.inf
    for _ in range(rounds):
        # with the means as centers, the inertia is Σ‖x‖² − Σ n_c ‖mean_c‖²: no pass over the points
        means = sums / torch.bincount(labels, minlength=k)[:, None]
        inertia = total - float((sums * means).sum())
        if tolerance and before - inertia < tolerance * inertia:
            break
        # move the centers, and widen the bounds by as much as the own center and the fastest other one moved
        before, moved = inertia, means.float()
        shift = (moved - centers).norm(dim=1)
        centers = moved
        far = shift.topk(2)
        others = torch.where(torch.arange(k, device=points.device) == far.indices[0], far.values[1], far.values[0])
        upper += shift[labels]
        lower -= others[labels]
        # only where the bounds overlap can the nearest center have changed
        doubtful = torch.nonzero(upper * (1 + SLACK) >= lower)[:, 0]
        new = labels.clone()
        upper[doubtful], lower[doubtful], new[doubtful] = _two_nearest(points, squares, centers, doubtful)
        filled = _without_empty(upper, new, k)
        if filled is not new:  # moved points are not with their nearest center: the bounds no longer hold
            upper[:], lower[:] = torch.inf, 0.0
        changed = torch.nonzero(filled != labels)[:, 0]
        if len(changed) == 0:
            break
        # update the sums by the points that changed: +1 to the new cluster, −1 to the old one
        member = torch.nn.functional.one_hot(filled[changed], k) - torch.nn.functional.one_hot(labels[changed], k)
        sums += _summed(points, changed, member)
        labels = filled
    means = sums / torch.bincount(labels, minlength=k)[:, None]
    return Clusters(means.float(), labels, max(0.0, total - float((sums * means).sum())))


def _two_nearest(points: Tensor, squares: Tensor, centers: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For some points, (n,) each: distance to the nearest and second nearest center, and the nearest center."""
    parts = []
    for chunk in rows.split(ROWS):
        low, which = _squared(points[chunk], squares[chunk], centers).topk(2, dim=1, largest=False)
        parts.append((low[:, 0].sqrt(), low[:, 1].sqrt(), which[:, 0]))
    if not parts:
        return points.new_empty(0), points.new_empty(0), rows
    nearest, second, which = (torch.cat(values) for values in zip(*parts, strict=True))
    return nearest, second, which


def _summed(points: Tensor, rows: Tensor, member: Tensor) -> Tensor:
    """(k, D) float64, the sums of some points weighted by `member` (n, k)."""
    sums = torch.zeros(member.shape[1], points.shape[1], dtype=torch.float64, device=points.device)
    for chunk, weights in zip(rows.split(ROWS), member.split(ROWS), strict=True):
        sums += weights.to(points.dtype).T @ points[chunk]
    return sums


def _without_empty(nearest: Tensor, labels: Tensor, k: int) -> Tensor:
    """Give each empty cluster the point farthest from its center whose cluster has other points."""
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


def _ordered(clusters: Clusters, mean: Tensor) -> Clusters:
    """Clusters by size, largest first, with the centers moved back by the mean."""
    counts = torch.bincount(clusters.labels, minlength=len(clusters.centers))
    order = counts.argsort(descending=True, stable=True)
    place = torch.empty_like(order)  # the inverse permutation: old label to new
    place[order] = torch.arange(len(order), device=order.device)
    centers = (clusters.centers[order].double() + mean.double()).float()
    return Clusters(centers, place[clusters.labels], clusters.inertia)
