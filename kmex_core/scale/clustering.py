"""k-means on each class of a sharded embedding: a task for each class that fits into memory, else a coreset.

What is found is kept beside the embedding: other numbers of prototypes, and runs after an interruption, take it from
there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.files import digest
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.sweep import reach_of
from kmex_core.scale.clusters import ClassClusters, ClassItem, Clustering, unpacked, whole_class
from kmex_core.scale.coreset import SIZE, coreset_clusters
from kmex_core.scale.engine import Engine, kept
from kmex_core.scale.sharded import ShardedEmbedding

COPIES = 4  # of a class's rows in memory while it is clustered
STAGE = "Finding prototypes"
METHOD = "sharded-clusters-1"


def large_classes(embedding: ShardedEmbedding, memory: int) -> list[int]:
    """The classes whose rows do not fit into some bytes of memory, with what clustering them takes."""
    return np.flatnonzero(embedding.counts * embedding.dimensions * 4 * COPIES > memory).tolist()


def demand_rows(embedding: ShardedEmbedding) -> None:
    """Refuse an embedding in which a class has no rows.

    Raises:
        InputError: for that.
    """
    empty = [f"'{embedding.class_names[label]}'" for label in np.flatnonzero(embedding.counts == 0).tolist()]
    if empty:
        raise InputError(f"Every class needs at least one row. Classes without any: {first_few(empty, 5)}.")


def clustered(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    numbers: Sequence[Sequence[int]],
    seed: int,
    engine: Engine,
    memory: int,
    progress: Progress = silent,
) -> list[ClassClusters]:
    """k-means of each class.

    Args:
        embedding: N rows of C classes, each of which has some.
        metric: of the prototypes.
        numbers: for each class, ascending numbers of prototypes; as many for each.
        seed: of k-means.
        engine: connected.
        memory: bytes that a task may use.
        progress: called after each class.

    Raises:
        InputError: when a class has no rows.
    """
    demand_rows(embedding)
    # as a sweep has them: clusters for a number follow from those for fewer, and do not depend on more
    reach = reach_of(max(max(of_class) for of_class in numbers))
    found = [tuple(of_class) if reach is None else tuple(range(1, reach + 1)) for of_class in numbers]
    shared, large = Clustering(embedding.folder, metric, seed), large_classes(embedding, memory)
    about = [METHOD, embedding.key, digest(metric.to_arrays()), metric.name, found, seed, [SIZE, large]]
    folder = embedding.results / f"clusters-{stable_key(about)}"
    items = [ClassItem(label, of_class) for label, of_class in enumerate(found)]
    clusters = {label: coreset_clusters(embedding, shared, items[label], engine, folder, progress) for label in large}
    small = [item for item in items if item.label not in clusters]
    for item, arrays in zip(small, kept(engine, folder, whole_class, shared, small, STAGE, progress), strict=True):
        clusters[item.label] = unpacked(arrays)
    return [_chosen(clusters[item.label], item.numbers, numbers[item.label]) for item in items]


def _chosen(clusters: ClassClusters, found: Sequence[int], numbers: Sequence[int]) -> ClassClusters:
    """The clusters for some of the numbers."""
    places = [found.index(number) for number in numbers]
    return dataclasses.replace(
        clusters,
        centers=tuple(clusters.centers[place] for place in places),
        inertia=clusters.inertia[places],
        loss=clusters.loss[places],
    )
