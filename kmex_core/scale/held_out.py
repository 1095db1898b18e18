"""The temperature of a posterior from held-out rows in parts, as `posterior.calibrated` fits it in one piece.

It is fitted on at most 2,000 rows, evenly spread over all of them, which tasks fetch from their parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.temperature import Temperature, halves_of
from kmex_core.scale.engine import Engine
from kmex_core.scale.sharded import ShardedEmbedding

DRAWN = 2**20  # rows up to which halves are drawn as in one piece
ALL = -1  # in place of a half: all rows


@dataclass(frozen=True, eq=False)
class Halves:
    """Which of two halves each held-out row is in.

    Up to `DRAWN` rows, they are those of `temperature.halves_of`. A draw among more would take memory like the rows: of
    them, every second one of each class is in the second half.

    Attributes:
        drawn: (M,) int8; None where halves alternate.
    """

    drawn: np.ndarray | None

    @classmethod
    def of(cls, embedding: ShardedEmbedding, engine: Engine) -> Self:
        """Those of an embedding."""
        if embedding.rows > DRAWN:
            return cls(None)
        labels = list(engine.map(_labels, embedding.folder, range(len(embedding.parts))))
        return cls(halves_of(np.concatenate(labels)).astype(np.int8))

    def of_part(self, embedding: ShardedEmbedding, number: int, labels: np.ndarray) -> np.ndarray:
        """(n,) int64, 0 or 1, the half of each row of a part with these labels."""
        if self.drawn is not None:
            first = embedding.parts[number].first
            return self.drawn[first : first + len(labels)].astype(np.int64)
        order, counts = np.argsort(labels, kind="stable"), embedding.part_counts[number]
        # each row's place among those of its class, in this part and before it
        place = np.empty(len(labels), np.int64)
        place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
        place += embedding.part_counts[:number].sum(0)[labels]
        return np.asarray((place + labels) % 2)

    def counts(self, embedding: ShardedEmbedding) -> np.ndarray:
        """(2, P) int64, how many rows of each part are in each half."""
        rows = np.array([part.rows for part in embedding.parts])
        if self.drawn is not None:
            second = np.add.reduceat(self.drawn.astype(np.int64), [part.first for part in embedding.parts])
        else:
            odd, ends = np.arange(len(embedding.class_names)) % 2, np.cumsum(embedding.part_counts, 0)
            # of the first n rows of a class, n // 2 are in the second half, or (n + 1) // 2 where its label is odd
            second = np.diff((ends + odd) // 2, axis=0, prepend=odd[None] // 2).sum(1)
        return np.stack([rows - second, second])


@dataclass(frozen=True, eq=False)
class _Fetching:
    """What the tasks share: see `_fetched`."""

    folder: Path
    metric: EmbeddingMetric
    halves: Halves


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Rows of a part: for each of some halves (or `ALL`), their places among its rows of that half."""

    number: int
    places: dict[int, np.ndarray]


def fitted_temperature(
    embedding: ShardedEmbedding,
    metric: EmbeddingMetric,
    centers: np.ndarray,
    classes: np.ndarray,
    validation: bool,
    engine: Engine,
) -> tuple[Temperature, Halves | None]:
    """The temperature of the posterior of prototypes, and the halves of the rows where each half has its own.

    Args:
        embedding: held-out rows.
        metric: of the prototypes.
        centers, classes: (K, D) in its space, and (K,).
        validation: whether the rows are the validation split, and judge others.
        engine: connected.
    """
    from kmex_core.prototypes.posterior import fitted_places

    halves = Halves(None) if validation else Halves.of(embedding, engine)
    counts = {ALL: np.array([part.rows for part in embedding.parts])}
    if not validation:
        counts |= dict(enumerate(halves.counts(embedding)))
    if not all(of_half.any() for of_half in counts.values()):  # a single row cannot judge itself
        counts = {ALL: counts[ALL]}
    wanted: list[dict[int, np.ndarray]] = [{} for _ in embedding.parts]
    for half, of_parts in counts.items():
        places, ends = fitted_places(int(of_parts.sum())), np.cumsum(of_parts)
        part = np.searchsorted(ends, places, side="right")
        for number in np.unique(part).tolist():
            wanted[number][half] = places[part == number] - (ends[number] - of_parts[number])
    items = [_Wanted(number, places) for number, places in enumerate(wanted) if places]
    fetched = list(engine.map(_fetched, _Fetching(embedding.folder, metric, halves), items))
    fitted = {
        half: _fit([rows[half] for rows in fetched if half in rows], centers, classes, int(of_parts.sum()))
        for half, of_parts in counts.items()
    }
    value, apart = fitted[ALL], len(fitted) > 1
    both = (fitted[0], fitted[1]) if apart else (value, value)
    return Temperature(value, both, embedding.rows, validation), halves if apart else None


def _fit(parts: list[tuple[np.ndarray, np.ndarray]], centers: np.ndarray, classes: np.ndarray, images: int) -> float:
    import torch

    from kmex_core.prototypes.fit import pairwise
    from kmex_core.prototypes.posterior import fit_temperature

    z, labels = (torch.from_numpy(np.concatenate(values)) for values in zip(*parts, strict=True))
    scores = -pairwise(z, torch.from_numpy(centers)).square()
    return fit_temperature(scores, torch.from_numpy(classes), labels, images)


def _labels(folder: Path, number: int) -> np.ndarray:
    return ShardedEmbedding.open(folder).labels(number).astype(np.int32)


def _fetched(shared: _Fetching, item: _Wanted) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """For each half, the wanted rows (n, D) in the space of the metric, and their classes (n,)."""
    embedding = ShardedEmbedding.open(shared.folder)
    block = embedding.block(item.number)
    half = np.full(len(block), ALL)
    if item.places.keys() - {ALL}:
        half = shared.halves.of_part(embedding, item.number, block.labels)
    found = {}
    for which, places in item.places.items():
        rows = places if which == ALL else np.flatnonzero(half == which)[places]
        found[which] = shared.metric(block.z[rows]), block.labels[rows]
    return found
