"""What blocks of rows make of one set of prototypes: sums that add up, and what each row has for itself.

A task takes one part, writes a file with both, and needs memory for that part alone. Whoever merges the sums has one
part's in memory at a time; the rows' own values are read by those who show every image.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.artifact import StoredResult
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Progress
from kmex_core.base.store import Store
from kmex_core.metrics.calibration import BINS, Reliability
from kmex_core.networks.types import NO_CLASS
from kmex_core.prototypes.metric import EmbeddingMetric
from kmex_core.prototypes.types import NO_IMAGE
from kmex_core.scale.assignment import BIN_BITS, Rows, nearest_of_both
from kmex_core.scale.engine import Engine, kept
from kmex_core.scale.held_out import Halves
from kmex_core.scale.parts import Block
from kmex_core.scale.sharded import ShardedEmbedding

if TYPE_CHECKING:
    from torch import Tensor, nn

OF_ROWS = ("activated", "far", "confidence", "likeliest", "black_box")  # what a task writes for every row
CELLS = 2**24  # distances in memory at once: with up to 1,024 prototypes, those of as many rows as in one piece
POSTERIOR, PUBLISHED, BLACK_BOX = range(3)  # rows of `Counted.gap`


@dataclass(frozen=True)
class Head:
    """The head of a model in the store, which workers open themselves.

    Attributes:
        root: the store's folder.
        model, device: its name, and where it computes.
        weights: their fingerprint.
    """

    root: Path
    model: str
    device: str
    weights: str


@dataclass(frozen=True, eq=False)
class Certainties:
    """What the posterior of a row depends on.

    Attributes:
        temperatures: T for the rows of each half, fitted without them.
        halves: which half each row is in; None where both have one T.
        head: the black box's, whose confidence is measured beside it; None for none.
    """

    temperatures: tuple[float, float]
    halves: Halves | None
    head: Head | None


@dataclass(frozen=True, eq=False)
class Measuring:
    """What the tasks of a pass share.

    Attributes:
        folder: of the embedding.
        metric: of the prototypes.
        centers, classes: (K, D) float32 in its space, and (K,).
        nearest: M, rows that describe each prototype.
        certainties: None where no posterior is wanted.
    """

    folder: Path
    metric: EmbeddingMetric
    centers: np.ndarray
    classes: np.ndarray
    nearest: int
    certainties: Certainties | None = None


@dataclass(frozen=True, eq=False)
class Counted(StoredResult):
    """What n rows make of K prototypes of C classes; `merged` with that of other rows, it is what all make.

    Attributes:
        rows, same: (1,) int64, n, and those of them whose class KMEx and the black box predict alike.
        cells, cell_counts: int64, the confusion matrix: true class · C + predicted class of those that occur, and how
            many rows have them.
        black_box_cells, black_box_counts: the same of what the black box predicts; none of rows that it does not.
        own, all: (K,) int64, rows of its own class, and of any class, whose nearest prototype each is.
        nearest, distance: (K, M) int64 and float32, the rows of its class nearest to each prototype, nearest first
            (`NO_IMAGE` and infinite where there are fewer), and how far they are.
        any_nearest, any_distance: (K,) the nearest row of any class.
        bins, bin_counts: uint32 and int64, a histogram of the distances to the nearest prototype, see `quantiles`.
        gap: (3, B) float64, see `calibration.Reliability`, of the posterior, of the probability as published, and of
            the black box's; 0 where not measured.
    """

    rows: np.ndarray
    same: np.ndarray
    cells: np.ndarray
    cell_counts: np.ndarray
    black_box_cells: np.ndarray
    black_box_counts: np.ndarray
    own: np.ndarray
    all: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    any_nearest: np.ndarray
    any_distance: np.ndarray
    bins: np.ndarray
    bin_counts: np.ndarray
    gap: np.ndarray

    def merged(self, other: Counted) -> Counted:
        """What the rows of both make; those of `other` come later, which decides between equal distances."""
        cells, cell_counts = added((self.cells, self.cell_counts), (other.cells, other.cell_counts))
        black_box = added(
            (self.black_box_cells, self.black_box_counts), (other.black_box_cells, other.black_box_counts)
        )
        bins, bin_counts = added((self.bins, self.bin_counts), (other.bins, other.bin_counts))
        closer = other.any_distance < self.any_distance
        return Counted(
            **{name: getattr(self, name) + getattr(other, name) for name in ("rows", "same", "own", "all", "gap")},
            **nearest_of_both((self.nearest, self.distance), (other.nearest, other.distance)),
            cells=cells,
            cell_counts=cell_counts,
            black_box_cells=black_box[0],
            black_box_counts=black_box[1],
            any_nearest=np.where(closer, other.any_nearest, self.any_nearest),
            any_distance=np.where(closer, other.any_distance, self.any_distance),
            bins=bins,
            bin_counts=bin_counts,
        )

    @property
    def has_black_box(self) -> bool:
        """Whether a network predicts the classes."""
        return len(self.black_box_cells) > 0

    def accuracy(self, classes: int) -> float:
        """Share of the rows that KMEx classifies correctly, see `metrics.accuracy`."""
        return self._right(self.cells, self.cell_counts, classes)

    def black_box_accuracy(self, classes: int) -> float | None:
        """See `metrics.black_box_accuracy`."""
        return self._right(self.black_box_cells, self.black_box_counts, classes) if self.has_black_box else None

    @property
    def agreement(self) -> float | None:
        """See `metrics.black_box_agreement`."""
        return int(self.same[0]) / int(self.rows[0]) if self.has_black_box else None

    def _right(self, cells: np.ndarray, counts: np.ndarray, classes: int) -> float:
        true, predicted = np.divmod(cells, classes)
        return int(counts[true == predicted].sum()) / int(self.rows[0])

    def confusion(self, classes: int) -> np.ndarray:
        """(C, C) int64, see `metrics.confusion`."""
        matrix = np.zeros(classes * classes, np.int64)
        matrix[self.cells] = self.cell_counts
        return matrix.reshape(classes, classes)

    def reliability(self, which: int) -> Reliability:
        """Of `POSTERIOR`, `PUBLISHED` or `BLACK_BOX`."""
        return Reliability(self.gap[which], int(self.rows[0]))

    def quantiles(self, shares: np.ndarray, far: Iterable[np.ndarray]) -> np.ndarray:
        """(Q,) float64, the distance to the nearest prototype that a share (0…1) of the rows have at most; as
        `np.quantile` has it.

        The histogram says which of its bins have them; their distances are then counted one by one. A bin has 8,192
        different ones at most.

        Args:
            shares: (Q,) ascending.
            far: the rows' distances again, float32, in any pieces.
        """
        place = shares * (int(self.rows[0]) - 1)
        low = np.floor(place).astype(np.int64)
        ranks = np.stack([low, np.minimum(low + 1, int(self.rows[0]) - 1)])  # (2, Q)
        ends = np.cumsum(self.bin_counts)
        of_bin = np.searchsorted(ends, ranks, side="right")
        wanted = np.unique(of_bin)
        values, counts = np.empty(0, np.uint32), np.empty(0, np.int64)
        for each in far:
            bits = each.view(np.uint32)
            found = np.unique(bits[np.isin(bits >> BIN_BITS, self.bins[wanted])], return_counts=True)
            values, counts = added((values, counts), found)
        # a rank among all rows, as one among those of the wanted bins
        before = np.cumsum(self.bin_counts[wanted]) - self.bin_counts[wanted]
        at = before[np.searchsorted(wanted, of_bin)] + ranks - (ends - self.bin_counts)[of_bin]
        lower, upper = values[np.searchsorted(np.cumsum(counts), at, side="right")].view(np.float32).astype(np.float64)
        return np.asarray(lower + (upper - lower) * (place - low))


def added(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of different numbers and how often each occurs, added up, by number."""
    numbers, place = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    counts = np.zeros(len(numbers), np.int64)
    np.add.at(counts, place, np.concatenate([one[1], other[1]]))
    return numbers, counts


def measured(
    embedding: ShardedEmbedding, shared: Measuring, engine: Engine, folder: Path, stage: str, progress: Progress
) -> Counted:
    """What all rows make of the prototypes.

    Args:
        embedding, shared: the rows, and what is measured on them.
        engine: connected.
        folder: keeps what is done, see `engine.kept`.
        stage, progress: what is reported after each part.
    """
    results = kept(engine, folder, _measured_part, shared, part_items(embedding), stage, progress)
    return functools.reduce(Counted.merged, map(Counted.from_arrays, results))


def of_rows(embedding: ShardedEmbedding, shared: Measuring, engine: Engine, folder: Path) -> Iterator[Arrays]:
    """What `measured` wrote for every row, `OF_ROWS` part by part."""
    for result in kept(engine, folder, _measured_part, shared, part_items(embedding), "Reading rows"):
        yield {name: result[name] for name in OF_ROWS if name in result}


def part_items(embedding: ShardedEmbedding) -> list[Rows]:
    """A task for each part."""
    return [Rows(number, number + 1) for number in range(len(embedding.parts))]


def _measured_part(shared: Measuring, item: Rows) -> Arrays:
    import torch

    from kmex_core.prototypes.fit import ROWS, activation_counts, pairwise

    embedding = ShardedEmbedding.open(shared.folder)
    block, classes, count = embedding.block(item.first), len(embedding.class_names), len(shared.centers)
    z, places = torch.from_numpy(shared.metric(block.z)), torch.from_numpy(shared.centers)
    of_class, labels = torch.from_numpy(shared.classes), torch.from_numpy(block.labels)
    nearest, distance = (
        np.full((count, shared.nearest), NO_IMAGE, np.int64),
        np.full((count, shared.nearest), np.inf, np.float32),
    )
    any_nearest, any_distance = np.full(count, NO_IMAGE, np.int64), np.full(count, np.inf, np.float32)
    pieces: list[Arrays] = []
    certain = None if shared.certainties is None else _Certain(shared, embedding, item.first, block)
    step = min(ROWS, max(1, CELLS // count))
    for start in range(0, len(z), step):
        rows = slice(start, start + step)
        distances = pairwise(z[rows], places)  # (n, K)
        low, which = distances.min(1)
        piece = {"activated": which.numpy().astype(np.int32), "far": low.numpy()}
        if certain is not None:
            piece |= certain.of(distances, which.numpy(), rows)
        pieces.append(piece)
        # per prototype: the nearest row of any class, before those of others are masked
        low, row = distances.min(0)
        closer = low.numpy() < any_distance
        any_nearest[closer] = block.index[start + row.numpy()[closer]]
        any_distance[closer] = low.numpy()[closer]
        distances[labels[rows, None] != of_class] = torch.inf
        low, row = distances.topk(min(shared.nearest, len(distances)), dim=0, largest=False)
        both = nearest_of_both((nearest, distance), (block.index[start + row.numpy()].T, low.numpy().T))
        nearest, distance = both["nearest"], both["distance"]
    values = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    values["black_box"] = block.black_box.astype(np.int32)
    predicted = shared.classes[values["activated"]]
    own, every = activation_counts(values["activated"], block.labels, shared.classes)
    known = block.black_box != NO_CLASS
    counted = Counted(
        rows=np.array([len(block)]),
        same=np.array([(predicted == block.black_box).sum()]),
        **_cells("cells", "cell_counts", block.labels * classes + predicted),
        **_cells("black_box_cells", "black_box_counts", (block.labels * classes + block.black_box)[known]),
        own=own,
        all=every,
        nearest=np.where(np.isinf(distance), NO_IMAGE, nearest),
        distance=distance,
        any_nearest=any_nearest,
        any_distance=any_distance,
        **_cells("bins", "bin_counts", values["far"].view(np.uint32) >> BIN_BITS),
        gap=np.zeros((3, BINS)) if certain is None else certain.gap(values, predicted),
    )
    return {field.name: getattr(counted, field.name) for field in fields(counted)} | {
        name: values[name] for name in OF_ROWS if name in values
    }


def _cells(name: str, counts: str, values: np.ndarray) -> dict[str, np.ndarray]:
    different, occurring = np.unique(values, return_counts=True)
    return {name: different, counts: occurring}


class _Certain:
    """The confidence of the predictions for the rows of a part."""

    def __init__(self, shared: Measuring, embedding: ShardedEmbedding, number: int, block: Block) -> None:
        import torch

        from kmex_core.prototypes.fit import class_members

        assert shared.certainties is not None
        self._certainties, self._block, self._classes = shared.certainties, block, shared.classes
        self._of_class = torch.from_numpy(shared.classes)
        self._count = int(shared.classes.max()) + 1
        self._members = class_members(self._of_class, self._count)
        halves = shared.certainties.halves
        half = np.zeros(len(block), np.int64) if halves is None else halves.of_part(embedding, number, block.labels)
        # each by the temperature that was fitted without it
        of_row = np.asarray(shared.certainties.temperatures)[1 - half]
        self._temperature = torch.from_numpy(of_row).float()[:, None, None]

    def of(self, distances: Tensor, which: np.ndarray, rows: slice) -> Arrays:
        """Of some rows, from their distances to the prototypes (n, K), of which `which` (n,) are the nearest."""
        from kmex_core.prototypes.fit import similarity
        from kmex_core.prototypes.posterior import posterior_by_class

        place, predicted = np.arange(len(which)), self._classes[which]
        by_class = posterior_by_class(-distances.square(), self._members, self._temperature[rows]).numpy()
        # as published: a softmax of the similarities to all prototypes, summed within each class
        none = distances.new_zeros(len(which), self._count)
        published = none.index_add(1, self._of_class, similarity(distances).softmax(1)).numpy()
        found = {
            "confidence": by_class[place, predicted],
            "likeliest": by_class.argmax(1).astype(np.int32),
            "published": published[place, predicted],
        }
        if self._certainties.head is not None:
            found["beside"] = _confidence(self._certainties.head, self._block.z[rows])
        return found

    def gap(self, values: Arrays, predicted: np.ndarray) -> np.ndarray:
        """See `Counted.gap`, from the confidence of all rows."""
        right, gap = predicted == self._block.labels, np.zeros((3, BINS))
        gap[POSTERIOR] = Reliability.of(values["confidence"], right).gap
        gap[PUBLISHED] = Reliability.of(values["published"], right).gap
        if "beside" in values:
            gap[BLACK_BOX] = Reliability.of(values["beside"], self._block.black_box == self._block.labels).gap
        return gap


def _confidence(head: Head, z: np.ndarray) -> np.ndarray:
    """(n,) the black box's probability of the class that it predicts."""
    import torch

    from kmex_core.networks.passes import device_of

    module = _opened(head)
    with torch.no_grad():
        scores = module(torch.from_numpy(z).to(device_of(module)))
        found: np.ndarray = scores.softmax(1).amax(1).cpu().numpy()
    return found


@functools.lru_cache(maxsize=1)
def _opened(head: Head) -> nn.Module:
    from kmex_core.base.devices import checked_device
    from kmex_core.models import catalogue

    return catalogue.load(Store(head.root), head.model, checked_device(head.device)).head
