"""k-means on classes that do not fit into memory: a lightweight coreset, then Lloyd's rounds over all parts.

The coreset is that of `kmeans` (Bachem, Lucic, Krause: Scalable k-Means Clustering via Lightweight Coresets, KDD 2018):
rows drawn half uniformly, half in proportion to their squared distance to the mean of the class, and weighted so that
the inertia is unbiased. Two passes over the class make it, each a task for every part: one adds up moments, which give
the probability of each part; the other draws that part's rows. Its prototypes are then moved by some of Lloyd's rounds
over all rows, whose inertia is exact: before the first, it is that of the coreset's prototypes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kmex_core.base.errors import StoreError
from kmex_core.base.files import Arrays, read_file, write_file
from kmex_core.base.progress import Progress, silent
from kmex_core.prototypes.source import class_seed
from kmex_core.scale.clusters import ClassClusters, ClassItem, Clustering, packed, unpacked
from kmex_core.scale.engine import Engine, kept
from kmex_core.scale.sharded import ShardedEmbedding

SIZE = 8192  # rows of a coreset
SAMPLE_ROUNDS, ROUNDS = 20, 3  # of Lloyd, over the coreset and over all rows
CELLS = 1 << 21  # distances in memory at once
SMALL = 1e-30


@dataclass(frozen=True)
class PartItem:
    """One part of one pass."""

    number: int
    stage: str

    @property
    def file(self) -> str:
        return f"{self.stage}-{self.number:06d}"


@dataclass(frozen=True, eq=False)
class _Class:
    """A class in a pass.

    Attributes:
        clustering, label: what is clustered.
        draws: (P,) how many rows of the coreset come from each part.
        mean, rows, scatter: of the class: (D,) float64, how many, Σ‖x − mean‖².
        centers: for each number of prototypes (k, D).
    """

    clustering: Clustering
    label: int
    draws: tuple[int, ...] = ()
    mean: np.ndarray | None = None
    rows: int = 0
    scatter: float = 0.0
    centers: tuple[np.ndarray, ...] = ()


def coreset_clusters(
    embedding: ShardedEmbedding,
    clustering: Clustering,
    item: ClassItem,
    engine: Engine,
    folder: Path,
    progress: Progress = silent,
) -> ClassClusters:
    """The clusters of one class by a coreset; see the module.

    Args:
        embedding, engine, progress: see `clustering.clustered`.
        clustering: the metric and the seed.
        item: the class, and the numbers of clusters.
        folder: keeps the clusters, and until they are found what they are made from.
    """
    path = folder / f"{item.file}.safetensors"
    try:
        return unpacked(read_file(path)[0])
    except (FileNotFoundError, StoreError):
        pass  # missing, or damaged: computed
    parts = np.flatnonzero(embedding.part_counts[:, item.label]).tolist()
    drawn = _drawn(_Class(clustering, item.label), parts, engine, folder, progress)
    clusters = _refined(*drawn, item, parts, engine, folder, progress)
    write_file(path, packed(clusters), {})
    for rest in folder.glob(f"{item.file}-*.safetensors"):
        rest.unlink()
    return clusters


def _drawn(
    of_class: _Class, parts: Sequence[int], engine: Engine, folder: Path, progress: Progress
) -> tuple[_Class, np.ndarray, np.ndarray]:
    """The class with its moments, and its coreset: (m, D) float32 rows and (m,) their weights."""
    name = f"class-{of_class.label:06d}"
    items = [PartItem(number, f"{name}-moments") for number in parts]
    moments = list(kept(engine, folder, _moments, of_class, items, "Adding up a large class", progress))
    rows = np.array([int(each["rows"][0]) for each in moments])
    sums, squares = np.stack([each["sum"] for each in moments]), np.array([each["squares"][0] for each in moments])
    mean = sums.sum(0) / rows.sum()
    # Σ‖x − mean‖² of each part, from its moments
    scatter = np.maximum(squares - 2 * sums @ mean + rows * (mean @ mean), 0)
    # the probability of a row is q(x) = 1/2n + d(x)² / 2Σd²; that of a part the sum over its rows
    share = 0.5 * rows / rows.sum() + 0.5 * scatter / max(scatter.sum(), SMALL)
    random = np.random.default_rng([of_class.clustering.seed, of_class.label])
    draws = random.multinomial(SIZE, share / share.sum())
    by_part = dict(zip(parts, draws.tolist(), strict=True))
    of_class = replace(
        of_class,
        draws=tuple(by_part.get(number, 0) for number in range(max(parts) + 1)),
        mean=mean,
        rows=int(rows.sum()),
        scatter=float(scatter.sum()),
    )
    items = [PartItem(number, f"{name}-coreset") for number in parts if by_part[number]]
    sample = list(kept(engine, folder, _sample, of_class, items, "Drawing a coreset", progress))
    points, weights = (np.concatenate([each[key] for each in sample]) for key in ("points", "weights"))
    return of_class, points, weights


def _moments(of_class: _Class, item: PartItem) -> Arrays:
    z = _points(of_class, item.number).astype(np.float64)
    return {"rows": np.array([len(z)]), "sum": z.sum(0), "squares": np.array([(z**2).sum()])}


def _points(of_class: _Class, number: int) -> np.ndarray:
    """(n, D) the rows of the class in a part, in the space of the metric."""
    embedding = ShardedEmbedding.open(of_class.clustering.folder)
    (block,) = embedding.of_class(of_class.label, [number])
    z: np.ndarray = of_class.clustering.metric(block.z)
    return z


def _sample(of_class: _Class, item: PartItem) -> Arrays:
    assert of_class.mean is not None
    z = _points(of_class, item.number)
    far = ((z - of_class.mean) ** 2).sum(1)
    chance = 0.5 / of_class.rows + 0.5 * far / max(of_class.scatter, SMALL)
    random = np.random.default_rng([of_class.clustering.seed, of_class.label, item.number])
    rows = random.choice(len(z), of_class.draws[item.number], p=chance / chance.sum())
    return {"points": z[rows], "weights": (1 / (SIZE * chance[rows])).astype(np.float32)}


def _refined(
    of_class: _Class,
    points: np.ndarray,
    weights: np.ndarray,
    item: ClassItem,
    parts: Sequence[int],
    engine: Engine,
    folder: Path,
    progress: Progress,
) -> ClassClusters:
    """Clusters of the coreset, moved by rounds over all rows."""
    (start,) = engine.map(
        _weighted, (points, weights, item.numbers), [class_seed(of_class.clustering.seed, item.label)]
    )
    centers, inertia, before = list(start), np.empty(0), np.empty(0)
    for number in range(ROUNDS + 1):
        stage, shared = f"{item.file}-round{number}", replace(of_class, centers=tuple(centers))
        items = [PartItem(part, stage) for part in parts]
        results = kept(engine, folder, _round, shared, items, "Moving prototypes of a large class", progress)
        sums, mass, inertia = functools.reduce(_added, map(_totals, results))
        if number == 0:
            before = inertia
        ends = np.cumsum([len(each) for each in centers])[:-1]
        of_each = list(zip(centers, np.split(sums, ends), np.split(mass, ends), strict=True))
        if number < ROUNDS:
            centers = [_moved(*each) for each in of_each]
    largest_first = [each[np.argsort(-size, kind="stable")][: (size > 0).sum()] for each, _, size in of_each]
    return ClassClusters(
        tuple(largest_first),
        inertia,
        np.where(inertia > 0, before / np.maximum(inertia, SMALL) - 1, 0.0),
        of_class.scatter / of_class.rows,
        len(points),
    )


Totals = tuple[np.ndarray, np.ndarray, np.ndarray]


def _totals(arrays: Arrays) -> Totals:
    return arrays["sums"], arrays["mass"], arrays["inertia"]


def _added(one: Totals, other: Totals) -> Totals:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _moved(centers: np.ndarray, sums: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The means of clusters; a cluster without points keeps its center."""
    return np.where(mass[:, None] > 0, sums / np.maximum(mass, 1)[:, None], centers).astype(np.float32)


def _weighted(shared: tuple[np.ndarray, np.ndarray, tuple[int, ...]], seed: int) -> list[np.ndarray]:
    """k-means on weighted points for several numbers, with starts as those of `kmeans.clusterings`: (k, D) each."""
    import torch

    from kmex_core.prototypes import kmeans

    points, weights = torch.from_numpy(shared[0]), torch.from_numpy(shared[1])
    mean = (points.double() * weights[:, None]).sum(0) / weights.sum(dtype=torch.float64)
    centred = points - mean.float()
    squares, numbers = centred.square().sum(1), shared[2]
    random = torch.Generator().manual_seed(seed)
    starts = kmeans.greedy_plus_plus(centred, weights, numbers[-1], kmeans.STARTS, random)
    ranked = kmeans.lloyd_rounds(centred, squares, [starts[:, :k] for k in numbers], kmeans.RANKING_ROUNDS, weights)
    tried = [
        starts[inertia.argsort(stable=True)[: kmeans.KEPT], :k] for k, (_, inertia) in zip(numbers, ranked, strict=True)
    ]
    runs = kmeans.lloyd_rounds(centred, squares, tried, SAMPLE_ROUNDS, weights)
    return [(centers[inertia.argmin()].double() + mean).float().numpy() for centers, inertia in runs]


def _round(of_class: _Class, item: PartItem) -> Arrays:
    """Assign a part's rows to the nearest center for each number: sums and sizes of clusters, and the exact inertia."""
    import torch

    from kmex_core.prototypes.fit import pairwise

    points, every = torch.from_numpy(_points(of_class, item.number)), torch.from_numpy(np.concatenate(of_class.centers))
    sizes = [len(each) for each in of_class.centers]
    sums = torch.zeros(every.shape, dtype=torch.float64)
    mass, inertia = torch.zeros(len(every), dtype=torch.float64), torch.zeros(len(sizes), dtype=torch.float64)
    for rows in points.split(max(1, CELLS // len(every))):
        first = 0
        for number, (size, part) in enumerate(zip(sizes, pairwise(rows, every).split(sizes, 1), strict=True)):
            low, which = part.min(1)
            inertia[number] += low.double().square().sum()
            sums[first : first + size].index_add_(0, which, rows.double())
            mass[first : first + size] += torch.bincount(which, minlength=size)
            first += size
    return {"sums": sums.numpy(), "mass": mass.numpy(), "inertia": inertia.numpy()}
