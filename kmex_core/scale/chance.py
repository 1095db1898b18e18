"""Chance levels of prototypes of a sharded embedding: what random rows of each class give, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmex_core import metrics
from kmex_core.metrics.effective import class_draws, effective_bands
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.scale.engine import Engine
from kmex_core.scale.parts import Block
from kmex_core.scale.sharded import ShardedEmbedding


@dataclass(frozen=True, eq=False)
class _Drawing:
    """What the tasks share: the embedding, and see `effective_by_chance`."""

    folder: Path
    metric: EmbeddingMetric
    variance: np.ndarray
    seed: int


def effective_by_chance(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    per_class: np.ndarray,
    variance: np.ndarray,
    seed: int,
    engine: Engine,
) -> metrics.Band:
    """`metrics.random_effective` of a sharded embedding: the same rows are drawn, and no others are kept.

    Args:
        embedding: of the training split.
        metric: of the prototypes.
        per_class: (C,) how many prototypes each class has.
        variance: (C,) σ² of each class in the space of the metric.
        seed: of the draws.
        engine: connected.
    """
    drawn = np.minimum(per_class, embedding.counts)
    items = [(label, int(drawn[label])) for label in np.flatnonzero(drawn).tolist()]
    scores = list(engine.map(_drawn, _Drawing(embedding.folder, metric, variance, seed), items))
    return effective_bands(drawn[None], scores)[0]


def _drawn(shared: _Drawing, item: tuple[int, int]) -> np.ndarray:
    """(1, draws) of one class."""
    label, count = item
    embedding = ShardedEmbedding.open(shared.folder)

    def points(places: np.ndarray) -> np.ndarray:
        return shared.metric(rows_of_class(embedding, label, places).z)

    size, variance = int(embedding.counts[label]), float(shared.variance[label])
    return class_draws(label, size, np.array([count]), variance, shared.seed, points)


def rows_of_class(embedding: ShardedEmbedding, label: int, places: np.ndarray) -> Block:
    """Rows of a class by their ascending places among its rows; the class is read part by part."""
    ends = np.cumsum(embedding.part_counts[:, label])
    part, blocks = np.searchsorted(ends, places, side="right"), []
    for number in np.unique(part).tolist():
        (block,) = embedding.of_class(label, [number])
        blocks.append(block.taken(places[part == number] - (ends[number] - embedding.part_counts[number, label])))
    return Block.joined(blocks, embedding.dimensions)
