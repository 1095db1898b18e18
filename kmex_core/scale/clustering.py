"""k-means on each class of a sharded embedding: a task for each class that fits into memory, else a coreset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.scale.clusters import ClassClusters, ClassItem, Clustering, unpacked, whole_class
from kmex_core.scale.coreset import coreset_clusters
from kmex_core.scale.engine import Engine, kept
from kmex_core.scale.sharded import ShardedEmbedding

COPIES = 4  # of a class's rows in memory while it is clustered
STAGE = "Finding prototypes"


def large_classes(embedding: ShardedEmbedding, memory: int) -> list[int]:
    """The classes whose rows do not fit into some bytes of memory, with what clustering them takes."""
    return np.flatnonzero(embedding.counts * embedding.dimensions * 4 * COPIES > memory).tolist()


def clustered(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    numbers: Sequence[Sequence[int]],
    seed: int,
    engine: Engine,
    folder: Path,
    memory: int,
    progress: Progress = silent,
) -> list[ClassClusters]:
    """k-means of each class.

    Args:
        embedding: N rows of C classes, each of which has some.
        metric: of the prototypes.
        numbers: for each class, ascending numbers of prototypes.
        seed: of k-means.
        engine: connected.
        folder: keeps what is done, see `engine.kept`.
        memory: bytes that a task may use.
        progress: called after each class.

    Raises:
        InputError: when a class has no rows, or one is too large for memory even by a coreset.
    """
    empty = [f"'{embedding.class_names[label]}'" for label in np.flatnonzero(embedding.counts == 0).tolist()]
    if empty:
        raise InputError(f"Every class needs at least one row. Classes without any: {first_few(empty, 5)}.")
    shared, large = Clustering(embedding.folder, metric, seed), large_classes(embedding, memory)
    items = [ClassItem(label, tuple(of_class)) for label, of_class in enumerate(numbers)]
    found = dict(coreset_clusters(embedding, shared, [items[label] for label in large], engine, folder, progress))
    small = [item for item in items if item.label not in found]
    for item, arrays in zip(small, kept(engine, folder, whole_class, shared, small, STAGE, progress), strict=True):
        found[item.label] = unpacked(arrays)
    return [found[label] for label in range(len(items))]
