"""k-means for one number of clusters or for many at once, with many starts at little cost.

Greedy k-means++ draws starts on a lightweight coreset (Bachem, Lucic, Krause: Scalable k-Means Clustering via
Lightweight Coresets, KDD 2018). They are nested: the first k picks are a start for k clusters, so one draw serves every
k. A few rounds of Lloyd on the coreset rank the starts for each k; the best, as they were drawn, run for a few rounds
on the points, and the best of these to convergence. (The coreset's means only rank: measured in 512 dimensions, the
points end in worse optima when they start from them.) All runs for all k share each round: their centers are the
rows of one matrix product. Of very many points, a random part is clustered first, and all of them then need few rounds.
In many dimensions all this happens in the first components, and only the last rounds in all dimensions: they end where
plain Lloyd ends. Distances by matrix products are exact enough to assign points; the points are centred first to lose
no precision to a large mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

STARTS = 24  # drawn
KEPT = 4  # of them, tried on the points
RANKING_ROUNDS, FINAL_ROUNDS = 2, 100
TRIAL_ROUNDS = (20, 3)  # for few points, which the coreset is all of, and for many
CORESET, CORESET_PER_CLUSTER = 2000, 40
AXES, ITERATIONS = 64, 3  # principal components, and how they are found
NARROW = 4  # times as many points and dimensions as axes pay
PART = 10_000  # points that are clustered before all of them
TOLERANCE, ROUGH = 1e-4, 2e-4  # of the inertia; where some dimensions stand for all
AHEAD = 1.0  # how much farther than to their means centers go there
CELLS = {"cpu": 1 << 21}  # distances in memory at once, by kind of device: memory that a CPU uses again
MANY_CELLS = 1 << 24  # on any other
ROWS, MOVED = 16384, 4096  # points at once


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
    """`clusterings` for one k."""
    return clusterings(points, [k], seed)[0]


def clusterings(points: Tensor, ks: Sequence[int], seed: int) -> list[Clusters]:
    """Cluster points by k-means (Lloyd 1982; greedy k-means++ starts, Arthur & Vassilvitskii 2007) for several k.

    The clusters for a k do not depend on larger ones among `ks`; next to k − 1 they do not fit worse.

    Args:
        points: (n, D) float32, finite, at least one.
        ks: numbers of clusters, ascending, each at least 1.
        seed: equal seeds give equal clusters on one machine.

    Returns:
        For each k, that many clusters, or as many as there are different points.

    Raises:
        ValueError: for numbers that are not ascending from 1.
    """
    ks = list(ks)
    if not ks or ks[0] < 1 or ks != sorted(set(ks)):
        raise ValueError(f"Expected ascending numbers of clusters from 1, got {ks}.")
    # centre: distances by matrix products lose digits to a large mean
    mean = _mean(points)
    centred = points - mean
    squares = torch.linalg.vector_norm(centred, dim=1).square_()
    most = _different(centred, ks[-1])
    wanted = [k for k in ks if k < most] + ([most] if ks[-1] >= most else [])
    # draws come in an order that no larger k changes
    random = torch.Generator().manual_seed(seed)
    sample, weights = _coreset(centred, squares, max(CORESET, CORESET_PER_CLUSTER * most), random)
    few, sampled = len(points) <= PART, len(sample) < len(points)
    rows = slice(None) if few else torch.randperm(len(points), generator=random)[:PART].to(points.device)
    part, part_squares, sample_squares = centred[rows], squares[rows], sample.square().sum(1)
    # until the last rounds, many points are clustered in some dimensions; what the others add to squares stays
    axes = _axes(part) if min(points.shape) >= NARROW * AXES else None
    if axes is not None:
        sample, part = sample @ axes, part @ axes
    # many starts on few points, ranked by their inertia after some rounds
    starts = greedy_plus_plus(sample, weights, most, STARTS, random)  # (starts, most, D)
    ranked = lloyd_rounds(sample, sample_squares, [starts[:, :k] for k in wanted], RANKING_ROUNDS, weights)
    tried = [starts[inertia.argsort(stable=True)[:KEPT], :k] for k, (_, inertia) in zip(wanted, ranked, strict=True)]
    # the best starts on (a part of) the points themselves; the best of these runs to convergence
    runs = lloyd_rounds(part, part_squares, tried, TRIAL_ROUNDS[sampled])
    labels = _nearest(part, [centers[inertia.argmin()] for centers, inertia in runs])
    tolerance, ahead = (ROUGH, AHEAD) if axes is not None else (TOLERANCE if sampled else 0.0, 0.0)
    found = _converged(part, part_squares, labels, wanted, tolerance, ahead)
    if not few:
        whole = centred if axes is None else centred @ axes
        labels = _nearest(whole, [one.centers for one in found])
        found = _converged(whole, squares, labels, wanted, max(tolerance, TOLERANCE), ahead)
    if axes is not None:
        found = _converged(centred, squares, labels, wanted, ROUGH if sampled else 0.0)
    by_k = {len(one.centers): one for one in (_ordered(each, mean) for each in _monotone(centred, squares, found))}
    return [by_k[max(count for count in by_k if count <= k)] for k in ks]


def portion(points: Tensor, centers: int) -> int:
    """How many points' distances to that many centers are computed at once."""
    return max(1, CELLS.get(points.device.type, MANY_CELLS) // max(1, centers))


def least(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) the least number of each column of (k, n), and (n,) its row, the first of several, as a small integer.

    `min` of torch compares one number at a time; these steps compare many, in a third of its time.
    """
    low = rows.amin(0)
    return low, len(rows) - 1 - ((rows == low) * _from_behind(len(rows), rows.device)).amax(0)


@cache
def _from_behind(k: int, device: torch.device) -> Tensor:
    return torch.arange(k - 1, -1, -1, dtype=_integers(k), device=device)[:, None]


def _integers(k: int) -> torch.dtype:
    """The type for numbers below `k`."""
    return torch.uint8 if k <= 256 else torch.int32


def _different(points: Tensor, most: int) -> int:
    """How many different points there are, at most `most`."""
    # equal points have equal projections on a random line; many points are unlikely to be few different ones
    line = torch.rand(points.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    line = line.to(points.device)
    seen = torch.empty(0, dtype=torch.float64, device=points.device)
    for chunk in points.split(portion(points, points.shape[1])):
        seen = torch.cat([seen, (chunk * line).sum(1)]).unique()
        if len(seen) >= most:
            return most
    return len(seen)


def _mean(points: Tensor) -> Tensor:
    """(D,) the mean of points (n, D)."""
    total = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    for x in points.split(MOVED):
        total += x.sum(0, dtype=torch.float64)
    return (total / len(points)).float()


def _axes(points: Tensor) -> Tensor:
    """(D, p) orthonormal, about the first principal components of centred points (n, D), by orthogonal iteration."""
    axes = torch.randn(points.shape[1], AXES, generator=torch.Generator().manual_seed(0)).to(points.device)
    for _ in range(ITERATIONS):
        axes = torch.linalg.qr(points.T @ (points @ axes)).Q
    return axes


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


def greedy_plus_plus(points: Tensor, weights: Tensor, k: int, starts: int, random: torch.Generator) -> Tensor:
    """Greedy k-means++ starts, (starts, k, D), as scikit-learn's; the first j centers are a start for j clusters.

    For the j-th center, 2 + ⌊ln j⌋ candidates are drawn in proportion to the squared distance to the nearest center;
    the one that lowers the potential (the weighted sum of these distances) most is taken.
    """
    squares = points.square().sum(1)
    chosen = torch.multinomial(weights.cpu(), starts, replacement=True, generator=random).to(points.device)
    nearest = _squared(points, squares, points[chosen]).T  # (starts, n)
    picks = [chosen]  # k times (starts,)
    for j in range(2, k + 1):
        share = (nearest * weights).cpu().double()
        # every point coincides with a center already: draw uniformly instead of failing
        share += (share.sum(1, keepdim=True) <= 0) * 1.0
        drawn = torch.multinomial(share, 2 + int(math.log(j)), replacement=True, generator=random).to(points.device)
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


def lloyd_rounds(
    points: Tensor, squares: Tensor, groups: Sequence[Tensor], rounds: int, weights: Tensor | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Some rounds of Lloyd for several groups of runs; a cluster without points keeps its center.

    Args:
        points, squares, weights: (n, D), (n,) squared norms, (n,) or None for 1.
        groups: (R, k, D) the centers of R runs; R and k may differ between groups.
        rounds: at most; a group ends when no run of it gets better.

    Returns:
        For each group its centers, and (R,) their inertia.
    """
    current = list(groups)
    inertia = [group.new_full((len(group),), torch.inf, dtype=torch.float64) for group in current]
    moving = list(range(len(current)))
    for done in range(rounds + 1):
        still = []
        assigned = _assigned(points, squares, [current[i] for i in moving], weights, moves=done < rounds)
        for number, (means, found) in zip(moving, assigned, strict=True):
            better = bool((found < inertia[number]).any())
            inertia[number] = found
            if done < rounds and better:
                current[number] = means
                still.append(number)
        moving = still
        if not moving:
            break
    return list(zip(current, inertia, strict=True))


def _assigned(
    points: Tensor, squares: Tensor, groups: Sequence[Tensor], weights: Tensor | None, moves: bool
) -> list[tuple[Tensor, Tensor]]:
    """Assign points to the nearest centers of several groups of runs, (R, k, D) each, in one matrix product.

    A point that is as near to two centers counts for both.

    Returns:
        For each group (R, k, D) the means of the clusters (the center of an empty one; all centers unless `moves`), and
        (R,) float64 the inertia of the centers given.
    """
    every = torch.cat([group.flatten(0, 1) for group in groups])  # (Σ R k, D)
    sizes = [(len(group), group.shape[1]) for group in groups]
    lengths = every.square().sum(1)[:, None]
    sums = torch.zeros(every.shape, dtype=torch.float64, device=points.device)
    mass = torch.zeros(len(every), dtype=torch.float64, device=points.device)
    inertia = torch.zeros(sum(runs for runs, _ in sizes), dtype=torch.float64, device=points.device)
    step = portion(points, len(every))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        x = points[rows]
        weight = torch.ones_like(x[:, 0]) if weights is None else weights[rows]
        # ‖c‖² − 2 x·c, a row for each center: rows are compared many points at a time
        distances = torch.addmm(lengths, every, x.T, alpha=-2)
        split = distances.split([runs * k for runs, k in sizes])
        parts = [part.view(*size, -1) for part, size in zip(split, sizes, strict=True)]
        least = [part.amin(1) for part in parts]  # (R, n)
        inertia += (torch.cat(least) + squares[rows]).clamp_min_(0) @ weight
        if not moves:
            continue
        # sums of the points by cluster: a product with who is in which
        for part, low in zip(parts, least, strict=True):
            part.le_(low[:, None])
        sums += distances @ (x if weights is None else x * weight[:, None])
        mass += distances @ weight
    means = torch.where(mass[:, None] > 0, sums / mass[:, None].clamp_min(1e-30), every.double()).float()
    of_groups = means.split([runs * k for runs, k in sizes])
    return [
        (centers.view(*size, -1), found)
        for centers, size, found in zip(of_groups, sizes, inertia.split([runs for runs, _ in sizes]), strict=True)
    ]


def _converged(
    points: Tensor, squares: Tensor, labels: Tensor, ks: Sequence[int], tolerance: float, ahead: float = 0.0
) -> list[Clusters]:
    """Lloyd from several clusterings, each until no point changes its cluster, until a round lowers its inertia by less
    than the share `tolerance`, or for `FINAL_ROUNDS` rounds.

    Args:
        points, squares: (n, D), (n,) squared norms.
        labels: (S, n) the cluster of each point in S clusterings, see `_nearest`; changed in place.
        ks: how many clusters each has, none of them empty.
        tolerance: 0 for none.
        ahead: as a share of its last move, how far a center goes beyond the mean, which saves rounds.
    """
    total, sizes = float(squares.sum(dtype=torch.float64)), torch.tensor(ks, device=points.device)
    first = sizes.cumsum(0) - sizes  # where the centers of each begin
    sums, counts = _sums(points, labels, ks)
    places = sums.float()
    inertia, moving = [math.inf] * len(ks), list(range(len(ks)))
    for done in range(FINAL_ROUNDS + 1):
        # with the means as centers, the inertia is Σ‖x‖² − Σ n_c ‖mean_c‖²: no pass over the points
        means = sums / counts[:, None]
        between = torch.stack([of.sum() for of in (sums * means).sum(1).split(list(ks))]).tolist()
        before, inertia = inertia, [max(0.0, total - value) for value in between]
        last, places = places, means.float()
        centers = (places + ahead * (places - last) if done and ahead else places).split(list(ks))
        if tolerance:
            moving = [i for i in moving if before[i] - inertia[i] >= tolerance * inertia[i]]
        if not moving or done == FINAL_ROUNDS:
            break
        after = _nearest(points, [centers[i] for i in moving])
        # only the points that changed: into the new cluster, out of the old one
        which, changed = torch.nonzero(after != labels[moving], as_tuple=True)
        row = torch.tensor(moving, device=points.device)[which]
        into, out = first[row] + after[which, changed], first[row] + labels[row, changed]
        for some, new, old in zip(changed.split(MOVED), into.split(MOVED), out.split(MOVED), strict=True):
            moved = points[some].double()
            sums.index_add_(0, new, moved).index_add_(0, old, moved, alpha=-1)
        counts += torch.bincount(into, minlength=len(counts)) - torch.bincount(out, minlength=len(counts))
        labels[moving] = after
        moving = sorted(set(row.tolist()))
    return [
        Clusters(each, of.long(), value)
        for each, of, value in zip(places.split(list(ks)), labels, inertia, strict=True)
    ]


def _nearest(points: Tensor, sets: Sequence[Tensor]) -> Tensor:
    """(S, n) the nearest of the centers (k, D) of each set for every point (n, D), in one product, as small integers.
    An empty cluster takes a far point."""
    every, sizes = torch.cat(list(sets)), [len(centers) for centers in sets]
    lengths = every.square().sum(1)[:, None]
    kind, step = _integers(max(sizes)), portion(points, len(every))
    found = torch.empty(len(sizes), len(points), dtype=kind, device=points.device)
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        distances = torch.addmm(lengths, every, points[rows].T, alpha=-2)
        for of_set, part in zip(found, distances.split(sizes), strict=True):
            of_set[rows] = least(part)[1]
    for of_set, centers in zip(found, sets, strict=True):
        if not torch.bincount(of_set, minlength=len(centers)).all():
            which = of_set.long()
            pieces = zip(points.split(ROWS), which.split(ROWS), strict=True)
            far = torch.cat([(x - centers[of]).square().sum(1) for x, of in pieces])
            of_set.copy_(_without_empty(far, which, len(centers)))
    return found


def _sums(points: Tensor, labels: Tensor, ks: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(Σ k, D) float64 the sums of the points of each cluster in clusterings (S, n), and (Σ k,) how many they are."""
    sums = torch.zeros(sum(ks), points.shape[1], dtype=torch.float64, device=points.device)
    first = torch.tensor(ks, device=points.device).cumsum(0) - torch.tensor(ks, device=points.device)
    step = portion(points, len(sums))
    for x, of in zip(points.split(step), labels.split(step, 1), strict=True):
        member = torch.zeros(len(sums), len(x), device=points.device)
        sums += member.scatter_(0, of.long() + first[:, None], 1.0) @ x
    return sums, torch.cat([torch.bincount(of, minlength=k) for of, k in zip(labels, ks, strict=True)])


def _without_empty(nearest: Tensor, labels: Tensor, k: int) -> Tensor:
    """Give each empty cluster the point farthest from its center whose cluster has other points."""
    counts = torch.bincount(labels, minlength=k)
    empty = torch.nonzero(counts == 0)[:, 0].tolist()
    if not empty:
        return labels
    labels = labels.clone()
    for point in nearest.argsort(descending=True, stable=True).tolist():
        if not empty:
            break
        if counts[labels[point]] > 1:
            counts[labels[point]] -= 1
            labels[point] = empty.pop()
            counts[labels[point]] += 1
    return labels


def _monotone(points: Tensor, squares: Tensor, found: Sequence[Clusters]) -> list[Clusters]:
    """One cluster more never fits worse: where it did, it starts anew from the clusters before and a far point."""
    better = list(found[:1])
    for one in found[1:]:
        before = better[-1]
        if len(one.centers) == len(before.centers) + 1 and one.inertia > before.inertia:
            farthest = (points - before.centers[before.labels]).square().sum(1).argmax()
            start = torch.cat([before.centers, points[farthest][None]])
            again = _converged(points, squares, _nearest(points, [start]), [len(start)], TOLERANCE)
            one = min(one, *again, key=lambda clusters: clusters.inertia)
        better.append(one)
    return better


def _ordered(clusters: Clusters, mean: Tensor) -> Clusters:
    """Clusters by size, largest first, with the centers moved back by the mean; centers that then coincide are one."""
    centers, labels = (clusters.centers.double() + mean.double()).float(), clusters.labels
    different, which = torch.unique(centers, dim=0, return_inverse=True)
    if len(different) < len(centers):
        centers, labels = different, which[labels]
    counts = torch.bincount(labels, minlength=len(centers))
    order = counts.argsort(descending=True, stable=True)
    place = torch.empty_like(order)  # the inverse permutation: old label to new
    place[order] = torch.arange(len(order), device=order.device)
    return replace(clusters, centers=centers[order], labels=place[labels])
