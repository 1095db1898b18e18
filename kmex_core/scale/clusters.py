"""The prototypes of a class of a sharded embedding, and how they are found where the class fits into memory: by
`kmeans.clusterings` on its rows in their order, as in one piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kmex_core import metrics
from kmex_core.base.files import Arrays
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.source import class_seed
from kmex_core.scale.parts import Block
from kmex_core.scale.sharded import ShardedEmbedding

if TYPE_CHECKING:
    from kmex_core.prototypes.kmeans import Clusters


@dataclass(frozen=True, eq=False)
class ClassClusters:
    """The prototypes of one class for several numbers of them, ascending.

    Attributes:
        centers: for each number (k, D) float32 in the space of the metric, the largest cluster first.
        inertia: (S,) float64, the sum of the squared distances of the class's rows to their nearest center.
        loss: (S,) float64, how much larger, as a share, the inertia was with what the coreset alone gave; 0 where the
            class was clustered whole.
        variance: σ² of the class, see `metrics.class_variance`.
        coreset: rows of the coreset; 0 where the class was clustered whole.
    """

    centers: tuple[np.ndarray, ...]
    inertia: np.ndarray
    loss: np.ndarray
    variance: float
    coreset: int = 0


@dataclass(frozen=True)
class ClassItem:
    """A class to cluster, for some ascending numbers of prototypes."""

    label: int
    numbers: tuple[int, ...]

    @property
    def file(self) -> str:
        return f"class-{self.label:06d}"


@dataclass(frozen=True, eq=False)
class Clustering:
    """What the tasks share.

    Attributes:
        folder: of the embedding.
        metric: of the prototypes.
        seed: of k-means.
    """

    folder: Path
    metric: EmbeddingMetric
    seed: int


def whole_class(shared: Clustering, item: ClassItem) -> Arrays:
    """k-means on all rows of a class, as in one piece."""
    import torch

    from kmex_core.prototypes.kmeans import clusterings

    embedding = ShardedEmbedding.open(shared.folder)
    z = shared.metric(Block.joined(list(embedding.of_class(item.label)), embedding.dimensions).z)
    points = torch.from_numpy(z)
    found = clusterings(points, item.numbers, class_seed(shared.seed, item.label))
    variance = float(metrics.class_variance(z, np.zeros(len(z), np.int64), 1)[0])
    inertia = np.array([clusters.inertia for clusters in found])
    return packed(ClassClusters(tuple(_means(points, found)), inertia, np.zeros(len(found)), variance))


def _means(points: object, found: Sequence[Clusters]) -> Iterator[np.ndarray]:
    """The centers as a stored conversion has them: the means of their points in the order of the rows."""
    import torch

    from kmex_core.prototypes.sweep import cluster_centers

    assert isinstance(points, torch.Tensor)
    labels = torch.zeros(len(points), dtype=torch.int64)
    for clusters in found:
        yield cluster_centers(points, labels, clusters.labels.numpy(), np.array([len(clusters.centers)]))[0]


def packed(clusters: ClassClusters) -> Arrays:
    """The clusters as arrays."""
    return {
        "centers": np.concatenate(clusters.centers),
        "sizes": np.array([len(each) for each in clusters.centers]),
        "inertia": clusters.inertia,
        "loss": clusters.loss,
        "variance": np.array([clusters.variance]),
        "coreset": np.array([clusters.coreset]),
    }


def unpacked(arrays: Arrays) -> ClassClusters:
    """The inverse of `packed`."""
    centers = np.split(arrays["centers"], np.cumsum(arrays["sizes"])[:-1])
    return ClassClusters(
        tuple(centers), arrays["inertia"], arrays["loss"], float(arrays["variance"][0]), int(arrays["coreset"][0])
    )
