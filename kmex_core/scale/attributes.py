"""What prototypes cover of the attributes of a sharded embedding, and for which rows predictions fail, from counts of
its parts.

Counts are those of `metrics.attributes` in one piece, and the random rows of chance levels are the same ones; they are
fetched from their parts. Only the errors that are moved at random among more than `DRAWN` rows are drawn otherwise: as
many of each part as chance gives it, then any of its rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kmex_core import metrics
from kmex_core.base.errors import InputError
from kmex_core.metrics.attribute_chance import DRAWS, SEED, chance_of_draws, drawn_places
from kmex_core.metrics.attributes import (
    AttributeCounts,
    accuracy_of_counts,
    both,
    by_prototype,
    ratio_of_counts,
)
from kmex_core.metrics.group_chance import chance_of_errors
from kmex_core.networks.types import NO_CLASS
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.types import Prototypes
from kmex_core.scale.attribute_rows import AttributeRows
from kmex_core.scale.engine import Engine
from kmex_core.scale.held_out import DRAWN
from kmex_core.scale.sharded import ShardedEmbedding

MOST_BYTES = 2**31  # of pair counts by class


@dataclass(frozen=True, eq=False)
class ShardedAttributes:
    """See `analysis.coverage.Attributed`.

    Attributes:
        rows: the attributes of the rows that prototypes are found on.
        metric: of the prototypes.
        engine: connected.
    """

    rows: AttributeRows
    metric: EmbeddingMetric
    engine: Engine

    @property
    def names(self) -> tuple[str, ...]:
        return self.rows.names

    @property
    def classes(self) -> int:
        return len(self.rows.embedding.class_names)

    @cached_property
    def counts(self) -> AttributeCounts:
        found = self.engine.map(_counts, self.rows.embedding.folder, self._parts)
        return functools.reduce(AttributeCounts.merged, found)

    @property
    def _parts(self) -> range:
        return range(len(self.rows.embedding.parts))

    def of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        has, known = (np.zeros((len(images), len(self.names)), bool) for _ in range(2))
        firsts = np.array([part.first for part in self.rows.embedding.parts])
        part = np.searchsorted(firsts, images, side="right") - 1  # −1 for no image
        items = [(number, images[part == number] - firsts[number]) for number in np.unique(part[part >= 0]).tolist()]
        for (number, _), found in zip(items, self.engine.map(_taken, self.rows.embedding.folder, items), strict=True):
            has[part == number], known[part == number] = found
        return has, known

    def told_apart(self, prototypes: Prototypes) -> np.ndarray:
        shared = _Assigning(self.rows.embedding.folder, self.metric, prototypes.centers, prototypes.classes)
        found = self.engine.map(_by_prototype, shared, self._parts)
        return ratio_of_counts(*functools.reduce(lambda one, other: (one[0] + other[0], one[1] + other[1]), found))

    def chance(self, per_class: np.ndarray) -> metrics.AttributeChance:
        embedding = self.rows.embedding
        size = embedding.counts
        taken = np.minimum(per_class, size)
        # the drawn rows, as places among all of their class
        draws = list(drawn_places(size, taken, len(self.names)))
        wanted, back = np.unique(np.concatenate([each.reshape(-1) for each in draws]), return_inverse=True)
        start = np.cumsum(size) - size
        label = np.searchsorted(np.cumsum(size), wanted, side="right")
        items, expected = _by_part(embedding, label, wanted - start[label]), np.zeros((len(self.names),) * 2)
        has, known = (np.zeros((len(wanted), -(-len(self.names) // 8)), np.uint8) for _ in range(2))
        shared = _Drawing(embedding.folder, taken / np.maximum(size, 1))
        for (_, here, _), found in zip(items, self.engine.map(_drawn, shared, items), strict=True):
            has[here], known[here] = found[:2]
            expected += found[2]
        return chance_of_draws(_sets(draws, back, has, known, len(self.names)), expected, self.counts.correlation)


def _sets(
    draws: list[np.ndarray], back: np.ndarray, has: np.ndarray, known: np.ndarray, attributes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The bits of the drawn rows as sets of rows, some draws at a time."""
    done = 0
    for each in draws:
        rows = back[done : done + each.size].reshape(each.shape)
        done += each.size
        x, m = (np.unpackbits(bits[rows], axis=-1, count=attributes).view(bool) for bits in (has, known))
        yield x, m


Item = tuple[int, np.ndarray, np.ndarray]


def _by_part(embedding: ShardedEmbedding, label: np.ndarray, place: np.ndarray) -> list[Item]:
    """Rows given by class and place in the class (U,): for each part its number, which of them it has, and where these
    are when its rows are sorted by class."""
    counts = embedding.part_counts
    part = np.empty(len(label), np.int64)
    for each in np.unique(label).tolist():
        part[label == each] = np.searchsorted(np.cumsum(counts[:, each]), place[label == each], side="right")
    order = np.argsort(part, kind="stable")
    ends, before, items = (
        np.searchsorted(part[order], np.arange(len(counts)), side="right"),
        np.zeros_like(counts[0]),
        [],
    )
    for number, (here, of_part) in enumerate(zip(np.split(order, ends)[: len(counts)], counts, strict=True)):
        begin = np.cumsum(of_part) - of_part
        items.append((number, here, begin[label[here]] + place[here] - before[label[here]]))
        before = before + of_part
    return items


@dataclass(frozen=True, eq=False)
class _Drawing:
    """What the tasks share: the embedding's folder, and (C,) which share of each class a draw takes."""

    folder: Path
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class _Assigning:
    """What the tasks share: the embedding's folder, and prototypes in the space of a metric."""

    folder: Path
    metric: EmbeddingMetric
    centers: np.ndarray
    classes: np.ndarray


def _opened(folder: Path) -> AttributeRows:
    return AttributeRows.open(ShardedEmbedding.open(folder))


def _counts(folder: Path, number: int) -> AttributeCounts:
    return AttributeCounts.of(*_opened(folder).part(number))


def _taken(folder: Path, item: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    has, known = _opened(folder).part(item[0])
    return has[item[1]], known[item[1]]


def _by_prototype(shared: _Assigning, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(K, A) each: of the rows nearest to each prototype, those for which an attribute is known, and that have it."""
    rows = _opened(shared.folder)
    has, known = rows.part(number)
    nearest = _nearest(shared, rows.embedding.block(number).z)
    return by_prototype(known, nearest, len(shared.centers)), by_prototype(has, nearest, len(shared.centers))


def _nearest(shared: _Assigning, z: np.ndarray) -> np.ndarray:
    from kmex_core.prototypes.fit import activated

    return activated(shared.metric(z), shared.centers)


def _drawn(shared: _Drawing, item: Item) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bits of the drawn rows, and what the part adds to the expected number of rows with each two attributes."""
    number, _, places = item
    rows = _opened(shared.folder)
    has, known = rows.part(number)
    labels = rows.embedding.labels(number)
    chosen = np.argsort(labels, kind="stable")[places]
    expected = (has * shared.weights[labels][:, None]).T @ has.astype(np.float64)
    return np.packbits(has[chosen], axis=1), np.packbits(known[chosen], axis=1), expected


# ---- for which rows predictions fail --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GroupFigures:
    """The accuracy of rows with each attribute, and with each two.

    Attributes:
        accuracy, chance: of each group.
        of_all: share of all rows that are predicted correctly.
        beside: the black box's accuracy of the groups; None without one.
    """

    accuracy: metrics.GroupAccuracy
    chance: metrics.GroupChance
    of_all: float
    beside: metrics.GroupAccuracy | None


@dataclass(frozen=True, eq=False)
class _Part:
    """What a part says of predictions: pair counts (A, A) of all rows, of those that are right, and of those that the
    black box gets right; by class (the classes that occur) pair counts, errors and rows; whether it predicts any."""

    pairs: np.ndarray
    right: np.ndarray
    right_black_box: np.ndarray
    labels: np.ndarray
    by_class: np.ndarray
    wrong: np.ndarray
    predicts: bool


def group_figures(
    rows: AttributeRows, metric: EmbeddingMetric, prototypes: Prototypes, engine: Engine, least: int
) -> GroupFigures:
    """The accuracy of groups of held-out rows, and what chance gives, see `analysis.tables.attributes.accuracy_table`.

    Memory grows with the classes and with the square of the number of attributes.

    Args:
        rows: attributes of held-out rows.
        metric: of the prototypes.
        prototypes: which predict.
        engine: connected.
        least: groups with fewer rows are left out.

    Raises:
        InputError: for too many classes and attributes.
    """
    embedding, classes, attributes = rows.embedding, len(rows.embedding.class_names), len(rows.names)
    if classes * attributes**2 * 8 > MOST_BYTES:
        raise InputError(
            f"{attributes:,} attributes of {classes:,} classes have too many groups. Use fewer attributes."
        )
    shared = _Assigning(embedding.folder, metric, prototypes.centers, prototypes.classes)
    pairs, right, right_black_box = (np.zeros((attributes, attributes), np.int64) for _ in range(3))
    by_class, wrong, predicts = (
        np.zeros((classes, attributes, attributes), np.int64),
        np.zeros(classes, np.int64),
        False,
    )
    for part in engine.map(_judged, shared, range(len(embedding.parts))):
        pairs += part.pairs
        right += part.right
        right_black_box += part.right_black_box
        by_class[part.labels] += part.by_class
        wrong[part.labels] += part.wrong
        predicts |= part.predicts
    accuracy = accuracy_of_counts(pairs, right, least)
    first, second = accuracy.groups.T
    there = np.flatnonzero(embedding.counts)
    counts = ((int(embedding.counts[label]), int(wrong[label]), by_class[label][first, second]) for label in there)
    moved = _moved(rows, shared, wrong, engine)
    return GroupFigures(
        accuracy,
        chance_of_errors(counts, (each[first, second] for each in moved), len(first)),
        1 - int(wrong.sum()) / embedding.rows,
        accuracy_of_counts(pairs, right_black_box, least) if predicts else None,
    )


def _judged(shared: _Assigning, number: int) -> _Part:
    rows = _opened(shared.folder)
    has, _ = rows.part(number)
    block = rows.embedding.block(number)
    right = shared.classes[_nearest(shared, block.z)] == block.labels
    labels = np.unique(block.labels)
    return _Part(
        both(has).astype(np.int64),
        both(has & right[:, None]).astype(np.int64),
        both(has & (block.black_box == block.labels)[:, None]).astype(np.int64),
        labels,
        np.stack([both(has[block.labels == label]) for label in labels]).astype(np.int64),
        np.array([int((~right[block.labels == label]).sum()) for label in labels]),
        bool((block.black_box != NO_CLASS).any()),
    )


def _moved(rows: AttributeRows, shared: _Assigning, wrong: np.ndarray, engine: Engine) -> Iterator[np.ndarray]:
    """(A, A) the errors that have each two attributes, in each of `DRAWS` draws that move them within their class."""
    from kmex_core.metrics.group_chance import moved_errors

    embedding, attributes = rows.embedding, len(rows.names)
    parts = range(len(embedding.parts))
    if embedding.rows <= DRAWN:  # the draws of one piece
        found = list(engine.map(_wrong, shared, parts))
        right, labels, bits = (np.concatenate(each) for each in zip(*found, strict=True))
        has = np.unpackbits(bits, axis=1, count=attributes).view(bool)
        yield from (both(has[chosen]) for chosen in moved_errors(right, labels, DRAWS, SEED))
        return
    total = np.zeros((DRAWS, attributes, attributes), np.int64)
    for found_of_part in engine.map(_moved_in_part, embedding.folder, _errors_of_parts(embedding, wrong)):
        total += found_of_part
    yield from total


def _wrong(shared: _Assigning, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the rows of a part whether each is right, its class, and the bits of its attributes."""
    rows = _opened(shared.folder)
    block = rows.embedding.block(number)
    right = shared.classes[_nearest(shared, block.z)] == block.labels
    return right, block.labels, np.packbits(rows.part(number)[0], axis=1)


def _errors_of_parts(embedding: ShardedEmbedding, wrong: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For each part (DRAWS, C), how many of the errors of each class fall on it: multivariate hypergeometric, part by
    part."""
    random = np.random.default_rng(SEED)
    left, rest = np.tile(wrong, (DRAWS, 1)), embedding.counts.copy()
    for number, counts in enumerate(embedding.part_counts):
        rest -= counts
        here = random.hypergeometric(counts, rest, left)
        left -= here
        yield number, here


def _moved_in_part(folder: Path, item: tuple[int, np.ndarray]) -> np.ndarray:
    """(DRAWS, A, A) int32, what errors that fall on random rows of a part, so many of each class in each draw, have."""
    number, errors = item
    rows = _opened(folder)
    has, counts = rows.part(number)[0], rows.embedding.part_counts[number]
    # as narrow as possible: numbers of 16 bits are sorted in one pass
    labels = rows.embedding.labels(number).astype(np.min_scalar_type(len(counts)))
    random = np.random.default_rng([SEED, number])
    # a row's place among those of its class in a random order; the first ones have the errors
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.empty((len(errors), has.shape[1], has.shape[1]), np.int32)
    for draw, of_class in enumerate(errors):
        shuffled = random.permutation(len(labels))
        order = shuffled[np.argsort(labels[shuffled], kind="stable")]
        found[draw] = both(has[order[place < np.repeat(of_class, counts)]])
    return found
