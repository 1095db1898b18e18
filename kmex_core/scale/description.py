"""Prototypes described by the rows of a sharded embedding, as `fit.describe_prototypes` does it in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kmex_core.base.files import Arrays
from kmex_core.base.progress import Progress, silent
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.types import NO_IMAGE, Prototypes
from kmex_core.scale.assignment import Pass, PrototypeSets, Rows, by_class, nearest_of_both, row_items
from kmex_core.scale.engine import Engine, kept
from kmex_core.scale.parts import Block
from kmex_core.scale.sharded import ShardedEmbedding


def described(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    sets: PrototypeSets,
    engine: Engine,
    folder: Path,
    progress: Progress = silent,
) -> Prototypes:
    """One set of prototypes with the training images that describe them.

    Memory grows by 8 bytes with each row: the prototype it activates, and how far that is.

    Args:
        embedding: of the training split.
        metric: of the prototypes.
        sets: one set.
        engine, folder, progress: see `assignment.assigned`.
    """
    from kmex_core.prototypes.fit import NEAREST

    count = len(sets.centers)
    own, every = np.zeros(count, np.int64), np.zeros(count, np.int64)
    nearest, distance = np.full((count, NEAREST), NO_IMAGE), np.full((count, NEAREST), np.inf, np.float32)
    any_index, any_distance = np.full(count, NO_IMAGE), np.full(count, np.inf, np.float32)
    activated, far = np.empty(embedding.rows, np.int32), np.empty(embedding.rows, np.float32)
    done, shared = 0, Pass(embedding.folder, metric, sets, NEAREST)
    items = row_items(embedding)
    for part in kept(engine, folder, _described_rows, shared, items, "Describing prototypes", progress):
        own += part["own"]
        every += part["every"]
        both = nearest_of_both((nearest, distance), (part["nearest"], part["distance"]))
        nearest, distance = both["nearest"], both["distance"]
        closer = part["any_distance"] < any_distance
        any_distance = np.where(closer, part["any_distance"], any_distance)
        any_index = np.where(closer, part["any_index"], any_index)
        rows = slice(done, done + len(part["far"]))
        activated[rows], far[rows] = part["activated"], part["far"]
        done = rows.stop
    sizes = embedding.counts
    return Prototypes(
        centers=sets.centers,
        classes=sets.classes,
        count=own,
        importance=own / sizes[sets.classes],
        count_all=every,
        nearest=np.where(np.isinf(distance), NO_IMAGE, nearest),
        nearest_distance=distance,
        nearest_any=any_index,
        distance_quantiles=np.quantile(far, np.linspace(0, 1, 101)).astype(np.float32),
        class_size=sizes,
        activated=activated,
    )


def _described_rows(shared: Pass, item: Rows) -> Arrays:
    embedding = ShardedEmbedding.open(shared.folder)
    block = Block.joined([embedding.block(number) for number in range(item.first, item.stop)], embedding.dimensions)
    import torch

    from kmex_core.prototypes.fit import ROWS, activation_counts, pairwise

    z, places = torch.from_numpy(shared.metric(block.z)), torch.from_numpy(shared.sets.centers)
    far, activated, low, first = [], [], [], []
    for start, rows in zip(range(0, len(z), ROWS), z.split(ROWS), strict=True):
        distances = pairwise(rows, places)  # (n, K)
        of_row, of_prototype = distances.min(1), distances.min(0)
        far.append(of_row.values.numpy())
        activated.append(of_row.indices.numpy())
        low.append(of_prototype.values.numpy())
        first.append(block.index[start + of_prototype.indices.numpy()])
    best = np.argmin(low, 0)  # of equally near rows, the first
    own, every = activation_counts(np.concatenate(activated), block.labels, shared.sets.classes)
    of_class = by_class(z, block, shared.sets, shared.nearest, len(embedding.class_names))
    return {
        "own": own,
        "every": every,
        "nearest": of_class["nearest"],
        "distance": of_class["distance"],
        "any_index": np.take_along_axis(np.array(first), best[None], 0)[0],
        "any_distance": np.take_along_axis(np.array(low), best[None], 0)[0],
        "activated": np.concatenate(activated).astype(np.int32),
        "far": np.concatenate(far),
    }
