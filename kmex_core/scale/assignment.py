"""One pass over a sharded embedding that assigns its rows to sets of prototypes; what parts give is merged."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.artifact import StoredResult
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Progress, silent
from kmex_core.networks.types import NO_CLASS
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.types import NO_IMAGE
from kmex_core.scale.engine import Engine, kept
from kmex_core.scale.parts import Block
from kmex_core.scale.sharded import ShardedEmbedding

if TYPE_CHECKING:
    import torch

TASKS = 256  # of a pass, at most about so many: each has several parts of a large embedding
BIN_BITS = 13  # of a float32 that a histogram of distances leaves out: bins are 0.1 % wide


@dataclass(frozen=True, eq=False)
class PrototypeSets:
    """S sets of prototypes, one after the other: ΣK in all.

    Attributes:
        centers: (ΣK, D) float32 in the space of the metric.
        classes: (ΣK,) int64.
        sizes: (S,) int64, prototypes of each set.
    """

    centers: np.ndarray
    classes: np.ndarray
    sizes: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """(S − 1,) where each set but the first begins."""
        ends: np.ndarray = np.cumsum(self.sizes)[:-1]
        return ends

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of all prototypes (ΣK, …) by set."""
        return np.split(values, self.ends)


@dataclass(frozen=True, eq=False)
class Assigned(StoredResult):
    """What n rows make of S sets of prototypes of C classes; `merged` with that of other rows, it is what all make.

    Attributes:
        rows: (1,) int64, n.
        predicted: (1,) int64, rows for which the black box predicts a class, if it does.
        right_black_box: (1,) int64, those for which it predicts the right one.
        right, same: (S,) int64, rows whose nearest prototype is of their class, and of the class that the black box
            predicts.
        own, all: (ΣK,) int64, rows of its own class, and of any class, whose nearest prototype each is.
        inertia: (S, C) float64, squared distances of each class's rows to the nearest prototype of their class.
        nearest, distance: (ΣK, M) int64 and float32, the rows of its class nearest to each prototype, nearest first
            (`NO_IMAGE` and infinite where there are fewer), and how far they are.
        bins, bin_counts: (H,) uint32 and int64, a histogram of the distances to the nearest prototype, see `quantile`.
        bin_sizes: (S,) int64, bins of each set.
    """

    rows: np.ndarray
    predicted: np.ndarray
    right_black_box: np.ndarray
    right: np.ndarray
    same: np.ndarray
    own: np.ndarray
    all: np.ndarray
    inertia: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    bins: np.ndarray
    bin_counts: np.ndarray
    bin_sizes: np.ndarray

    def merged(self, other: Assigned) -> Assigned:
        """What the rows of both make; those of `other` come later, which decides between equal distances."""
        added = ("rows", "predicted", "right_black_box", "right", "same", "own", "all", "inertia")
        return Assigned(
            **{name: getattr(self, name) + getattr(other, name) for name in added},
            **nearest_of_both((self.nearest, self.distance), (other.nearest, other.distance)),
            **_added(self._histograms() + other._histograms(), len(self.right)),
        )

    def _histograms(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        ends = np.cumsum(self.bin_sizes)[:-1]
        each = zip(np.split(self.bins, ends), np.split(self.bin_counts, ends), strict=True)
        return [(number, bins, counts) for number, (bins, counts) in enumerate(each)]

    def quantile(self, share: float) -> np.ndarray:
        """(S,) the distance to the nearest prototype that a share (0…1) of the rows have at most, to 0.1 %."""
        found = []
        for _, bins, counts in self._histograms():
            bin_ = bins[np.searchsorted(np.cumsum(counts), share * counts.sum())]
            low, high = (np.array([(bin_ + step) << BIN_BITS], np.uint32).view(np.float32)[0] for step in (0, 1))
            found.append((float(low) + float(high)) / 2)
        return np.array(found)

    @property
    def has_black_box(self) -> bool:
        """Whether a network predicts the classes."""
        return bool(self.predicted[0])


def nearest_of_both(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """The M rows nearest to each prototype among those of two lists, (K, M) rows and their distances, nearest first;
    of equally near ones, those of the first list."""
    rows, distance = (np.concatenate(each, 1) for each in zip(one, other, strict=True))
    order = np.argsort(distance, 1, kind="stable")[:, : one[0].shape[1]]
    return {"nearest": np.take_along_axis(rows, order, 1), "distance": np.take_along_axis(distance, order, 1)}


def _added(histograms: Sequence[tuple[int, np.ndarray, np.ndarray]], sets: int) -> dict[str, np.ndarray]:
    """Histograms of distances, added up by set."""
    bins, totals = [], []
    for number in range(sets):
        of_set = [(each, counts) for which, each, counts in histograms if which == number]
        different, place = np.unique(np.concatenate([each for each, _ in of_set]), return_inverse=True)
        bins.append(different)
        counts = np.concatenate([counts for _, counts in of_set])
        totals.append(np.bincount(place, counts, len(different)).astype(np.int64))
    sizes = np.array([len(each) for each in bins])
    return {"bins": np.concatenate(bins), "bin_counts": np.concatenate(totals), "bin_sizes": sizes}


@dataclass(frozen=True)
class Rows:
    """Consecutive parts, the rows of one task."""

    first: int
    stop: int

    @property
    def file(self) -> str:
        return f"rows-{self.first:06d}-{self.stop:06d}"


def row_items(embedding: ShardedEmbedding) -> list[Rows]:
    """The tasks of a pass."""
    count = len(embedding.parts)
    step = -(-count // TASKS)
    return [Rows(first, min(first + step, count)) for first in range(0, count, step)]


@dataclass(frozen=True, eq=False)
class Pass:
    """What the tasks share: see `assigned`."""

    folder: Path
    metric: EmbeddingMetric
    sets: PrototypeSets
    nearest: int


def assigned(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    sets: PrototypeSets,
    nearest: int,
    engine: Engine,
    folder: Path,
    progress: Progress = silent,
) -> Assigned:
    """What the rows of an embedding make of sets of prototypes.

    Args:
        embedding: the rows.
        metric: of the prototypes.
        sets: the prototypes.
        nearest: M, rows that describe each prototype.
        engine: connected.
        folder: keeps what is done, see `engine.kept`.
        progress: called after each task.
    """
    shared = Pass(embedding.folder, metric, sets, nearest)
    results = kept(engine, folder, _rows, shared, row_items(embedding), "Assigning images", progress)
    return functools.reduce(Assigned.merged, map(Assigned.from_arrays, results))


def _rows(shared: Pass, item: Rows) -> Arrays:
    embedding = ShardedEmbedding.open(shared.folder)
    blocks = (embedding.block(number) for number in range(item.first, item.stop))
    found = functools.reduce(Assigned.merged, (of_block(block, shared, len(embedding.class_names)) for block in blocks))
    return {field.name: getattr(found, field.name) for field in fields(found)}


def of_block(block: Block, shared: Pass, classes: int) -> Assigned:
    """What the rows of one block make of the sets."""
    import torch

    from kmex_core.prototypes.fit import activation_counts

    sets = shared.sets
    z = shared.metric(block.z)
    which, far = _nearest(z, sets)
    of_class = sets.split(sets.classes)
    predicted = np.stack([each[rows] for each, rows in zip(of_class, which, strict=True)])  # (S, n)
    counts = [activation_counts(rows, block.labels, each) for rows, each in zip(which, of_class, strict=True)]
    known = block.black_box != NO_CLASS
    return Assigned(
        rows=np.array([len(block)]),
        predicted=np.array([known.sum()]),
        right_black_box=np.array([(block.black_box == block.labels).sum()]),
        right=(predicted == block.labels).sum(1),
        same=(predicted == block.black_box).sum(1),
        own=np.concatenate([own for own, _ in counts]),
        all=np.concatenate([every for _, every in counts]),
        **by_class(torch.from_numpy(z), block, sets, shared.nearest, classes),
        **_added([_histogram(number, each) for number, each in enumerate(far)], len(far)),
    )


def _nearest(z: np.ndarray, sets: PrototypeSets) -> tuple[np.ndarray, list[np.ndarray]]:
    """(S, n) the nearest prototype of each row in each set, and its distance."""
    import torch

    from kmex_core.prototypes.fit import activated, nearest_distance
    from kmex_core.prototypes.sweep import nearest_of_each

    centers = sets.split(sets.centers)
    # one set as `fit.describe_prototypes` has it, several as in a sweep
    which = activated(z, centers[0])[None] if len(centers) == 1 else nearest_of_each(torch.from_numpy(z), centers)
    return which, [nearest_distance(z, each, rows) for each, rows in zip(centers, which, strict=True)]


def _histogram(number: int, far: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """The upper bits of float32 numbers ≥ 0, which are in the order of the numbers, and how many have each."""
    bins, counts = np.unique(far.astype(np.float32).view(np.uint32) >> BIN_BITS, return_counts=True)
    return number, bins, counts


def by_class(z: torch.Tensor, block: Block, sets: PrototypeSets, nearest: int, classes: int) -> dict[str, np.ndarray]:
    """The fields of `Assigned` on a class's rows and its own prototypes."""
    import torch

    from kmex_core.prototypes.fit import ROWS, pairwise

    inertia = np.zeros((len(sets.sizes), classes))
    rows = np.full((len(sets.centers), nearest), NO_IMAGE, np.int64)
    distance = np.full((len(sets.centers), nearest), np.inf, np.float32)
    of_set, labels = np.repeat(np.arange(len(sets.sizes)), sets.sizes), torch.from_numpy(block.labels)
    for label in np.unique(block.labels).tolist():
        own = np.flatnonzero(sets.classes == label)
        members = torch.nonzero(labels == label)[:, 0]
        if not len(own):
            continue
        places = torch.from_numpy(sets.centers[own])
        starts = np.flatnonzero(np.diff(of_set[own], prepend=-1))  # where the prototypes of each set begin
        for few in members.split(ROWS):
            far = pairwise(z[few], places)  # (n, Σk)
            least = np.minimum.reduceat(far.numpy(), starts, axis=1).astype(np.float64)
            inertia[of_set[own][starts], label] += (least**2).sum(0)
            # these rows' nearest, merged with the nearest so far, (Σk, 2 M) to (Σk, M)
            low, row = (each.numpy().T for each in far.topk(min(nearest, len(few)), dim=0, largest=False))
            both = nearest_of_both((rows[own], distance[own]), (block.index[few.numpy()[row]], low))
            rows[own], distance[own] = both["nearest"], both["distance"]
    return {"inertia": inertia, "nearest": rows, "distance": distance}
