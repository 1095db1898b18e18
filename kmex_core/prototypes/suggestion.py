"""How many prototypes a class needs: evidence from its training images, and the number it suggests.

Needs torch only to compute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.artifact import StoredResult
from kmex_core.base.errors import InputError
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.sweep import REACHES

if TYPE_CHECKING:
    from torch import Generator, Tensor

SEED = 0  # of samples, splits and draws
IMAGES = 1000  # of a class that are clustered again and again
DIMENSIONS = 32  # principal components that they are described by
NULLS = 5  # classes without groups, drawn for comparison
SPLITS = 5  # into halves
RUNS, HALF_RUNS = 4, 2  # of k-means on whole samples and on halves; the best counts
ROUNDS = 5
STABLE = 0.8  # prediction strength (Tibshirani & Walther)
ERRORS = 3.0  # standard errors by which groups beat their absence
CELLS = 1 << 25  # distances in memory at once
STAGE = "Suggesting numbers of prototypes"


@dataclass(frozen=True, eq=False)
class Evidence(StoredResult):
    """For each of C classes and 1 to S prototypes per class, what speaks for that number.

    Attributes:
        gap: (C, S) float64, gap statistic: how much lower the logarithm of the inertia is than that of a Gaussian with
            the class's covariance, mean over draws (higher is more groups; 0 for one without groups).
        gap_error: (C,) standard error of a gap, pooled over the numbers.
        prediction_strength: (C, S) 0…1, the share of an image's cluster mates that stay together when the clusters of
            the other half of the images assign them, mean over images and splits (higher is more stable).
        rand_index: (C, S) adjusted Rand index between the two, at most 1 (higher is more stable; 0 is chance).
        suggested: (C,) int64, the number that they suggest, see `suggested`.

    Numbers above half of a class's images are not tried: NaN.
    """

    gap: np.ndarray
    gap_error: np.ndarray
    prediction_strength: np.ndarray
    rand_index: np.ndarray
    suggested: np.ndarray


def numbers(
    k: int | Sequence[int] | str,
    embeddings: Embeddings,
    class_names: Sequence[str],
    device: str = "cpu",
    progress: Progress = silent,
) -> int | list[int]:
    """Numbers of prototypes per class, with those that are suggested in place of "auto".

    Args:
        k: one number, one for each class, or "auto".
        embeddings: the training split, in the space of the prototypes.
        class_names: C names.
        device: a torch device.
        progress: see `evidence`.

    Raises:
        InputError: for another word; see `fit_prototypes`.
    """
    import torch

    from kmex_core.prototypes.fit import checked_sizes

    if not isinstance(k, str):
        return k if isinstance(k, int) else list(k)
    if k != AUTO:
        raise InputError(f"Expected a number of prototypes per class, one for each class, or '{AUTO}', got '{k}'.")
    checked_sizes(embeddings, class_names)
    z = torch.from_numpy(embeddings.z).to(device)
    found: list[int] = evidence(z, embeddings.labels, REACHES[0], SEED, progress).suggested.tolist()
    return found


def suggested(gap: np.ndarray, gap_error: float, prediction_strength: np.ndarray) -> int:
    """The number of prototypes that the evidence on a class suggests.

    Numbers count whose clusters are found again in the other half of the images (prediction strength `STABLE`), and
    whose gap is more than `ERRORS` standard errors above 0. Of these, the smallest whose gap is within `ERRORS`
    standard errors of their best; 1 if there is none.

    Args:
        gap, prediction_strength: (S,) for 1 to S prototypes.
        gap_error: the standard error of a gap.
    """
    counts = (prediction_strength >= STABLE) & (gap > ERRORS * gap_error)
    if not counts[1:].any():
        return 1
    near_best = counts & (gap >= gap[counts].max() - ERRORS * gap_error)
    return int(np.flatnonzero(near_best)[0]) + 1


def evidence(z: Tensor, labels: np.ndarray, reach: int, seed: int, progress: Progress = silent) -> Evidence:
    """The evidence for 1 to `reach` prototypes per class.

    A sample of each class is clustered in its principal components: whole, in halves, and beside Gaussians with its
    covariance. The gap statistic is that of Tibshirani, Walther and Hastie (JRSS B 63, 2001) with this null in place of
    a uniform box, which any embedding beats; the prediction strength that of Tibshirani and Walther (JCGS 14, 2005),
    averaged over images instead of the minimum over clusters, which a single small cluster decides.

    Args:
        z: (N, D) training embeddings in the space of the prototypes.
        labels: (N,) the classes; every class has images.
        reach: S, the largest number.
        seed: of the draws.
        progress: called after each batch of classes.
    """
    import torch

    counts = np.bincount(labels)
    several, found, done = batches(counts, reach), [], 0
    for batch in several:
        progress(Event(STAGE, done, len(counts)))
        done += len(batch)
        rows = [np.flatnonzero(labels == label)[drawn(int(counts[label]), label, seed)] for label in batch]
        found.append(of_batch([z[torch.from_numpy(each).to(z.device)] for each in rows], reach, seed))
    progress(Event(STAGE, len(counts), len(counts)))
    return gathered(several, found)


def drawn(count: int, label: int, seed: int) -> np.ndarray:
    """(n,) int64, which of a class's images its evidence is from, ascending: `IMAGES` of them, all if they are fewer.

    Args:
        count: images of the class.
        label: the class.
        seed: of the draw.
    """
    return np.sort(np.random.default_rng([seed, label]).permutation(count)[:IMAGES])


def batches(counts: np.ndarray, reach: int) -> list[tuple[int, ...]]:
    """The classes in batches that share each step: equally many images of each are drawn.

    Args:
        counts: (C,) images of each class, at least 1.
        reach: S, the largest number.
    """
    sizes, found = np.minimum(counts, IMAGES), []
    for size in np.unique(sizes).tolist():
        of_size = np.flatnonzero(sizes == size)
        step = max(1, CELLS // ((1 + NULLS + SPLITS) * size * RUNS * reach * (reach + 1) // 2))
        found += [tuple(some.tolist()) for some in np.split(of_size, range(step, len(of_size), step))]
    return found


def of_batch(samples: Sequence[Tensor], reach: int, seed: int) -> Arrays:
    """What speaks for each number in the B classes of a batch: all of `Evidence` but the suggestion, for these.

    Args:
        samples: (n, D) of each class.
        reach: S, the largest number.
        seed: of the draws.
    """
    import torch

    n, shape = len(samples[0]), (len(samples), reach)
    # NaN: not tried; one cluster needs no trial
    gap, strength, rand = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    gap[:, 0], strength[:, 0], rand[:, 0] = 0.0, 1.0, 1.0
    error = np.full(len(samples), np.inf)
    most = min(reach, n // 2)  # halves have as many different images, or fewer
    if most >= 2:
        components = [_components(sample) for sample in samples]
        width = max(each.shape[1] for each in components)
        images = torch.stack([torch.nn.functional.pad(each, (0, width - each.shape[1])) for each in components])
        draws = torch.Generator().manual_seed(seed)
        gap[:, :most], error[:] = _gaps(images, most, draws)
        strength[:, :most], rand[:, :most] = _stability(images, most, draws)
    return {"gap": gap, "gap_error": error, "prediction_strength": strength, "rand_index": rand}


def gathered(several: Sequence[Sequence[int]], found: Iterable[Arrays]) -> Evidence:
    """The evidence on all classes, and the numbers that it suggests.

    Args:
        several: the classes of each batch, all of them together.
        found: what `of_batch` gives of each, in the same order.
    """
    order = np.argsort([label for batch in several for label in batch])
    each = list(found)
    joined = {name: np.concatenate([of_one[name] for of_one in each])[order] for name in each[0]}
    of_classes = zip(joined["gap"], joined["gap_error"], joined["prediction_strength"], strict=True)
    return Evidence(**joined, suggested=np.array([suggested(*of_class) for of_class in of_classes]))


def _components(points: Tensor) -> Tensor:
    """(n, p) the first principal components of (n, D), centred; p is at most `DIMENSIONS`."""
    import torch

    centred = (points.double() - points.mean(0, dtype=torch.float64)).float()
    # the smaller of the two products has the components
    if len(points) <= points.shape[1]:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        found = vectors * values.clamp_min(0).sqrt()
    else:
        found = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -DIMENSIONS:]
    return found.flip(1)[:, :DIMENSIONS]


def _gaps(images: Tensor, most: int, random: Generator) -> tuple[np.ndarray, np.ndarray]:
    """(B, most) gaps of B classes, and (B,) their standard errors.

    Args:
        images: (B, n, p) of each class, centred.
        most: the largest number of clusters.
        random: a torch generator.
    """
    import torch

    classes, n, width = images.shape
    # components are uncorrelated: independent normal numbers with their variances have their covariance
    spread = images.square().mean(1).sqrt()
    drawn = torch.randn(classes, NULLS, n, width, generator=random).to(images) * spread[:, None, None]
    sets = torch.cat([images[:, None], drawn], 1).flatten(0, 1)
    inertia, _ = _clustered(sets, most, RUNS, random)
    logarithm = inertia.clamp_min(1e-30).log().view(classes, 1 + NULLS, most).cpu().numpy()
    null = logarithm[:, 1:]
    error = np.sqrt(null.var(1, ddof=1).mean(1) * (1 + 1 / NULLS))
    return null.mean(1) - logarithm[:, 0], error


def _stability(images: Tensor, most: int, random: Generator) -> tuple[np.ndarray, np.ndarray]:
    """(B, most) prediction strength and adjusted Rand index of B classes, see `Evidence`; arguments as of `_gaps`."""
    import torch

    classes, n, width = images.shape
    half = n // 2
    order = torch.stack([torch.randperm(n, generator=random) for _ in range(classes * SPLITS)])
    order = order.view(classes, SPLITS, n)[:, :, : 2 * half].to(images.device)
    picked = images[torch.arange(classes, device=images.device)[:, None, None], order]  # (B, splits, 2 half, p)
    halves = picked.view(classes * SPLITS * 2, half, width)
    _, centers = _clustered(halves, most, HALF_RUNS, random)
    # the images of each half by its own clusters, and by those of the other half
    own = _nearest(halves, centers)
    swapped = [each.view(-1, 2, *each.shape[1:]).flip(1).flatten(0, 1) for each in centers]
    other = _nearest(halves, swapped)
    strength, rand = [], []
    for k, (mine, theirs) in enumerate(zip(own, other, strict=True), 1):
        one_hot = torch.nn.functional.one_hot
        table = one_hot(mine, k).double().transpose(1, 2) @ one_hot(theirs, k).double()  # (sets, k, k)
        strength.append(_prediction_strength(table))
        rand.append(_rand_index(table))
    # means over splits and their halves
    prediction, index = (torch.stack(of, 1).view(classes, -1, most).mean(1).cpu().numpy() for of in (strength, rand))
    return prediction, index


def _prediction_strength(table: Tensor) -> Tensor:
    """(sets,) of images by own and by other cluster (sets, k, k): the share of pairs of an own cluster that the other
    clusters keep together, mean over images."""
    own = table.sum(2)
    together = (table * (table - 1)).sum(2) / (own * (own - 1)).clamp_min(1)  # (sets, k)
    counted = own * (own > 1)  # a single image has no mates
    return (together * counted).sum(1) / counted.sum(1).clamp_min(1)


def _rand_index(table: Tensor) -> Tensor:
    """(sets,) adjusted Rand index (Hubert & Arabie 1985) of tables (sets, k, k); 1 for one cluster on both sides."""
    n = table.sum((1, 2))

    def pairs(counts: Tensor) -> Tensor:
        return counts * (counts - 1) / 2

    both, own, other = pairs(table).sum((1, 2)), pairs(table.sum(2)).sum(1), pairs(table.sum(1)).sum(1)
    expected, most = own * other / pairs(n).clamp_min(1), (own + other) / 2
    return ((both - expected) / (most - expected).clamp_min(1e-12)).where(most > expected, 1.0)


def _clustered(sets: Tensor, most: int, runs: int, random: Generator) -> tuple[Tensor, list[Tensor]]:
    """k-means of many sets of points at once: (B, most) float64 inertia, and for each k the centers (B, k, p).

    Greedy nested starts as in `kmeans`; the best of some runs.

    Args:
        sets: (B, n, p).
        most: the largest k.
        runs: how many.
        random: a torch generator.
    """
    import torch

    repeated = sets.repeat_interleave(runs, 0)
    starts = _greedy_starts(repeated, most, random)  # (B runs, most, p)
    centers = [starts[:, :k] for k in range(1, most + 1)]
    for _ in range(ROUNDS):
        centers = _moved(repeated, centers)
    best = _inertia(repeated, centers).view(-1, runs, most).min(1)
    each = torch.arange(len(sets), device=sets.device) * runs
    return best.values, [of_k[each + which] for of_k, which in zip(centers, best.indices.T, strict=True)]


def _greedy_starts(sets: Tensor, most: int, random: Generator) -> Tensor:
    """(B, most, p) greedy k-means++ starts in sets of points (B, n, p), see `kmeans`."""
    import torch

    batch, n, _ = sets.shape
    each = torch.arange(batch, device=sets.device)
    picks = [torch.randint(n, (batch,), generator=random).to(sets.device)]
    nearest, squares = (sets - sets[each, picks[0]][:, None]).square().sum(2), sets.square().sum(2)  # (B, n)
    for j in range(2, most + 1):
        # as unlikely as it is, all points can coincide with a center: then any will do
        drawn = torch.multinomial(nearest.cpu() + 1e-12, 2 + int(math.log(j)), replacement=True, generator=random)
        candidates = sets[each[:, None], drawn.to(sets.device)]  # (B, candidates, p)
        apart = (squares[:, None] + candidates.square().sum(2)[..., None]).baddbmm_(
            candidates, sets.transpose(1, 2), alpha=-2
        )
        with_candidate = torch.minimum(apart.clamp_min_(0), nearest[:, None])
        best = with_candidate.sum(2).argmin(1)
        nearest = with_candidate[each, best]
        picks.append(drawn.to(sets.device)[each, best])
    return sets[each[:, None], torch.stack(picks, 1)]


def _moved(sets: Tensor, centers: Sequence[Tensor]) -> list[Tensor]:
    """One round of Lloyd for sets of points (B, n, p) and for each k centers (B, k, p); empty clusters stay.

    A point that is as near to two centers counts for both."""
    import torch

    sizes, every = [of_k.shape[1] for of_k in centers], torch.cat(list(centers), 1)
    moved = torch.empty_like(every)
    for some in _portions(sets, every):
        distances = _apart(sets[some], every[some])
        for part in distances.split(sizes, 1):
            part.le_(part.amin(1, keepdim=True))  # 1 for the nearest, else 0
        mass = distances.sum(2)[..., None]
        moved[some] = torch.where(mass > 0, distances @ sets[some] / mass.clamp_min(1), every[some])
    return list(moved.split(sizes, 1))


def _inertia(sets: Tensor, centers: Sequence[Tensor]) -> Tensor:
    """(B, S) float64 inertia of points (B, n, p) around S sets of centers (B, k, p)."""
    import torch

    sizes, every = [of_k.shape[1] for of_k in centers], torch.cat(list(centers), 1)
    found = torch.empty(len(sets), len(sizes), dtype=torch.float64, device=sets.device)
    for some in _portions(sets, every):
        squares = sets[some].square().sum(2)
        for number, part in enumerate(_apart(sets[some], every[some]).split(sizes, 1)):
            found[some, number] = (part.amin(1) + squares).clamp_min_(0).sum(1, dtype=torch.float64)
    return found


def _nearest(sets: Tensor, centers: Sequence[Tensor]) -> list[Tensor]:
    """For each k which of the centers (B, k, p) is nearest to points (B, n, p), (B, n)."""
    import torch

    every = torch.cat(list(centers), 1)
    found: list[list[Tensor]] = [[] for _ in centers]
    for some in _portions(sets, every):
        parts = _apart(sets[some], every[some]).split([of_k.shape[1] for of_k in centers], 1)
        for of_k, part in zip(found, parts, strict=True):
            of_k.append(part.min(1).indices)
    return [torch.cat(of_k) for of_k in found]


def _apart(sets: Tensor, centers: Tensor) -> Tensor:
    """(B, K, n) squared distances of centers (B, K, p) to points (B, n, p), less the squares of the points."""
    import torch

    return torch.baddbmm(centers.square().sum(2)[..., None], centers, sets.transpose(1, 2), alpha=-2)


def _portions(sets: Tensor, centers: Tensor) -> list[slice]:
    """Parts of a batch of points (B, n, p) whose distances to centers (B, K, p) are computed at once."""
    from kmex_core.prototypes.kmeans import portion

    step = portion(sets, sets.shape[1] * centers.shape[1])
    return [slice(start, start + step) for start in range(0, len(sets), step)]
