"""Prototypes of a sharded embedding for every number per class, measured in one pass over its parts."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.artifact import StoredResult
from kmex_core.base.errors import StoreError
from kmex_core.base.files import digest, read_file, regular_files, write_file
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.base.store import demand_writable, read_only
from kmex_core.prototypes.metric import EUCLIDEAN, EmbeddingMetric
from kmex_core.scale.assignment import Assigned, PrototypeSets, assigned
from kmex_core.scale.clustering import clustered, large_classes
from kmex_core.scale.clusters import ClassClusters
from kmex_core.scale.coreset import SIZE
from kmex_core.scale.engine import Engine
from kmex_core.scale.sharded import ShardedEmbedding

EXEMPLARS = 9  # rows that describe each prototype, the nearest first
SAMPLE = 100_000  # rows that metrics and chance levels are estimated on, all where there are no more
METHOD = "sharded-sweep-1"
SWEEP = r"sweep-[0-9a-f]{20}\.safetensors"


@dataclass(frozen=True, eq=False)
class ShardedSweep(StoredResult):
    """Prototypes for S ascending numbers per class of N rows of C classes, ΣK prototypes in all.

    Attributes:
        ks: (S,) int64, the numbers.
        centers: (ΣK, D) float32 in the space of the metric.
        classes: (ΣK,) int64.
        sizes: (S,) int64, prototypes of each number in all.
        counts: (ΣK,) int64, rows of its own class that each is nearest to.
        exemplars: (ΣK, 9) int64, the rows of its class nearest to it, nearest first; −1 where there are fewer.
        per_class: (S, C) int64, prototypes of each class.
        inertia: (S, C) float64, squared distances of a class's rows to their nearest prototype of it (lower is better).
        loss: (S, C) float64, by how much, as a share of it, the inertia was larger with what a coreset alone gave; 0
            where the class was clustered whole.
        coreset: (C,) int64, rows of the coreset; 0 where the class was clustered whole.
        variance: (C,) float64, σ² of each class.
        accuracy, agreement: (S,) shares 0…1 of the measured rows; agreement is NaN without a black box.
        ghosting: (S,) share of prototypes that no row of their class is nearest to (lower is better).
        diversity: (S,) D_dvs; NaN for one per class.
        effective, effective_equidistant: (S,) see `metrics.effective_prototypes`.
        effective_random: (S, 3) of random rows: mean, and ends of the band; on a sample of rows.
        coverage_radius: (S,) 95 % of the measured rows are this near to a prototype, to 0.1 %.
        measured: how many rows accuracy, agreement and coverage radius are of.
        held_out: whether these are other rows than those that the prototypes were found on.
        accuracy_black_box: share of them that the black box classifies correctly; None without one.
        metric: its name.
        seed: of k-means.
        seconds: duration.
        matrix, shrinkage, length: of the metric, see `space`; None in results of earlier versions.
        embedding: key of the rows; "" in results of earlier versions.
    """

    ks: np.ndarray
    centers: np.ndarray
    classes: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    exemplars: np.ndarray
    per_class: np.ndarray
    inertia: np.ndarray
    loss: np.ndarray
    coreset: np.ndarray
    variance: np.ndarray
    accuracy: np.ndarray
    agreement: np.ndarray
    ghosting: np.ndarray
    diversity: np.ndarray
    effective: np.ndarray
    effective_equidistant: np.ndarray
    effective_random: np.ndarray
    coverage_radius: np.ndarray
    measured: int
    held_out: bool
    accuracy_black_box: float | None
    metric: str
    seed: int
    seconds: float
    matrix: np.ndarray | None = None
    shrinkage: float | None = None
    length: float | None = None
    embedding: str = ""

    @property
    def space(self) -> EmbeddingMetric | None:
        """The metric, which leads back from centers to embeddings; None where an earlier version kept only its name."""
        if self.matrix is None or self.shrinkage is None or self.length is None:
            return EmbeddingMetric() if self.metric == EUCLIDEAN else None
        return EmbeddingMetric(self.metric, self.matrix, self.shrinkage, self.length)

    def at(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For k per class the centers (K, D), classes (K,), counts (K,) and exemplars (K, 9).

        Raises:
            KeyError: when k is not one of the numbers.
        """
        if k not in self.ks:
            raise KeyError(k)
        number = int(np.searchsorted(self.ks, k))
        stop = int(self.sizes[: number + 1].sum())
        rows = slice(stop - int(self.sizes[number]), stop)
        return self.centers[rows], self.classes[rows], self.counts[rows], self.exemplars[rows]


def sharded_sweep(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    ks: Sequence[int],
    seed: int,
    engine: Engine,
    memory: int,
    held_out: ShardedEmbedding | None = None,
    progress: Progress = silent,
) -> ShardedSweep:
    """The sweep of a sharded embedding: read from its results, or computed, going on where an earlier run stopped.

    Args:
        embedding: N rows; every class has some.
        metric: of the prototypes.
        ks: ascending numbers of prototypes per class.
        seed: of k-means.
        engine: connected.
        memory: bytes that a task may use, see `clustering.clustered`.
        held_out: rows that accuracy, agreement and coverage radius are measured on; those of `embedding` when None.
        progress: called after each task.

    Raises:
        InputError: when the store is read-only and lacks it; see `clustering.clustered`.
        StoreError: when the results cannot be written.
    """
    started = time.perf_counter()
    large = [(label, SIZE) for label in large_classes(embedding, memory)]
    about = [METHOD, embedding.key, held_out.key if held_out else "", metric.name, list(ks), seed, large]
    key = stable_key([*about, digest(metric.to_arrays())])
    path, work = embedding.results / f"sweep-{key}.safetensors", embedding.results / f"work-{key}"
    if (found := _read(path)) is not None:
        return found if found.matrix is not None else _with_metric(found, embedding, metric, path)
    demand_writable("Prototypes of a sharded embedding cannot be written")
    classes = len(embedding.class_names)
    clusters = clustered(embedding, metric, [ks] * classes, seed, engine, memory, progress)
    sets = sets_of(clusters)
    rows = assigned(embedding, metric, sets, EXEMPLARS, engine, work / "rows", progress)
    other = rows
    if held_out is not None:
        other = assigned(held_out, metric, sets, EXEMPLARS, engine, work / "held-out", progress)
    result = _measured(embedding, metric, list(ks), seed, clusters, sets, rows, other, held_out is not None, started)
    write_file(path, result.to_arrays(), result.to_description())
    shutil.rmtree(work, ignore_errors=True)
    return result


def stored_sweep(embedding: ShardedEmbedding) -> ShardedSweep | None:
    """The sweep with most numbers among those that were computed from an embedding, of several the last; or None."""
    found = stored_sweeps(embedding)
    return max(found, key=lambda each: (len(each[1].ks), each[0].stat().st_mtime_ns))[1] if found else None


def stored_sweeps(embedding: ShardedEmbedding) -> list[tuple[Path, ShardedSweep]]:
    """All sweeps that were computed from an embedding, with their files; none of rows that were there before."""
    each = [(path, _read(path)) for path in regular_files(embedding.results, re.compile(SWEEP))]
    return [(path, sweep) for path, sweep in each if sweep is not None and sweep.embedding in ("", embedding.key)]


def _read(path: Path) -> ShardedSweep | None:
    """A stored sweep; None where it is missing, damaged or of another version, as if it were not there."""
    try:
        arrays, description = read_file(path)
        return ShardedSweep.from_arrays(arrays, **description)
    except (FileNotFoundError, StoreError, TypeError):
        return None


def _with_metric(found: ShardedSweep, embedding: ShardedEmbedding, metric: EmbeddingMetric, path: Path) -> ShardedSweep:
    """A sweep of an earlier version, with what it did not keep; its name tells that the metric was this one."""
    whole = dataclasses.replace(found, **_about(metric, embedding))
    if not read_only():
        write_file(path, whole.to_arrays(), whole.to_description())
    return whole


def _about(metric: EmbeddingMetric, embedding: ShardedEmbedding) -> dict[str, Any]:
    """The fields on the metric and the rows."""
    of_metric = {"matrix": metric.matrix, "shrinkage": metric.shrinkage, "length": metric.length}
    return {"metric": metric.name, "embedding": embedding.key, **of_metric}


def sets_of(clusters: Sequence[ClassClusters]) -> PrototypeSets:
    """The prototypes of all classes, for each number."""
    steps = range(len(clusters[0].centers))
    of_steps = [[of_class.centers[step] for of_class in clusters] for step in steps]
    classes = [np.repeat(np.arange(len(each)), [len(centers) for centers in each]) for each in of_steps]
    return PrototypeSets(
        np.concatenate([centers for each in of_steps for centers in each]),
        np.concatenate(classes),
        np.array([len(each) for each in classes]),
    )


def _measured(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    ks: list[int],
    seed: int,
    clusters: Sequence[ClassClusters],
    sets: PrototypeSets,
    rows: Assigned,
    other: Assigned,
    held_out: bool,
    started: float,
) -> ShardedSweep:
    """The figures, from what the rows (and other ones) make of the prototypes."""
    each = list(zip(sets.split(sets.centers), sets.split(sets.classes), strict=True))
    variance = np.array([of_class.variance for of_class in clusters])
    per_class = np.stack([np.bincount(classes, minlength=len(clusters)) for _, classes in each])
    sample = embedding.sample(SAMPLE, seed)
    drawn = np.minimum(per_class, np.bincount(sample.labels, minlength=len(clusters)))
    spread = metrics.random_effective(metric(sample.z), sample.labels, drawn, variance, seed)
    equidistant = [np.mean([metrics.equidistant_effective(k) for k in numbers.tolist()]) for numbers in per_class]
    measured = int(other.rows[0])
    return ShardedSweep(
        ks=np.array(ks),
        centers=sets.centers,
        classes=sets.classes,
        sizes=sets.sizes,
        counts=rows.own,
        exemplars=rows.nearest,
        per_class=per_class,
        inertia=rows.inertia,
        loss=np.stack([of_class.loss for of_class in clusters], 1),
        coreset=np.array([of_class.coreset for of_class in clusters]),
        variance=variance,
        accuracy=other.right / measured,
        agreement=other.same / measured if other.has_black_box else np.full(len(ks), np.nan),
        ghosting=np.array([metrics.ghosting(own) for own in sets.split(rows.own)]),
        diversity=np.array([metrics.diversity(*of) if np.bincount(of[1]).max() > 1 else np.nan for of in each]),
        effective=np.array([metrics.effective_prototypes(*of, variance) for of in each]),
        effective_equidistant=np.array(equidistant),
        effective_random=np.array([dataclasses.astuple(band) for band in spread]),
        coverage_radius=other.quantile(0.95),
        measured=measured,
        held_out=held_out,
        accuracy_black_box=float(other.right_black_box[0] / measured) if other.has_black_box else None,
        **_about(metric, embedding),
        seed=seed,
        seconds=time.perf_counter() - started,
    )
