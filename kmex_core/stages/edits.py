"""Editing the prototypes of a model at the speed of a hand: what is kept between two edits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from kmex_core import metrics
from kmex_core.analysis.edit_scores import HALF, VALIDATION, EditScores, Part, edit_scores, scored_rows
from kmex_core.base.errors import InputError
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.edits import (
    Assignment,
    EditedPrototypes,
    Images,
    Workbench,
    assigned,
    distances,
    reassigned,
    rebased,
    step,
    untouched,
)
from kmex_core.prototypes.operations import MOST_OPERATIONS, Operation
from kmex_core.prototypes.source import KMeans, PrototypeSource, Version
from kmex_core.prototypes.types import NO_IMAGE, Conversion, Prototypes
from kmex_core.stages.subject import Subject

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")
HELD = 512 * 2**20  # bytes of all sessions together, beside the one that was used last
KEPT = 64 * 2**20  # bytes of a session's assignments
STEPS = 1000  # lists of operations whose outcome a session remembers


class EditSession:
    """The edits of one base: remembers what they made of it, so that one more takes about as long as the distances of
    all images to one prototype. Safe for several threads.

    It holds the embeddings of all splits in the space of the prototypes, and
    at most `KEPT` bytes beside them.

    Args:
        subject: the model.
        base: the prototypes that are edited.
    """

    def __init__(self, subject: Subject, base: KMeans) -> None:
        self._lock = threading.RLock()
        self.conversion: Conversion = subject.read(subject.conversion(base))
        self._names, data = subject.info.class_names, subject.data
        names = ("train", "test", *(("validation",) if "validation" in data.splits else ()))
        embedded = [subject.read(subject.embedding(name)) for name in names]
        self.train: Embeddings = embedded[0].in_space(self.conversion.metric)
        z = np.concatenate([self.train.z, *(each.in_space(self.conversion.metric).z for each in embedded[1:])])
        self.train = replace(self.train, z=z[: len(self.train)])
        self._images, self._train = Images(z), Images(self.train.z)
        self._ends = np.cumsum([len(each) for each in embedded])
        # the parts of the held-out images, and where their rows are among all images
        test, black_box = data.split("test"), embedded[1].black_box
        self._test_labels, self._black_box = test.labels, black_box
        if len(embedded) > 2:
            every = np.arange(len(test)), np.arange(len(embedded[2]))
            self._scored = Part(data.split("validation"), every[1], embedded[2].black_box, self._names)
            self._untouched, self.origin = Part(test, every[0], black_box, self._names), VALIDATION
            self._places = every[1] + self._ends[1], every[0] + self._ends[0]
        else:
            first, second = scored_rows(test.labels)
            self._scored = Part(test, first, black_box[first], self._names)
            self._untouched, self.origin = Part(test, second, black_box[second], self._names), HALF
            self._places = first + self._ends[0], second + self._ends[0]
        self._bench = Workbench(self.train.z, self.train.labels, self._names, base.seed, self._assign)
        self._start = untouched(self.conversion.prototypes.centers, self.conversion.prototypes.classes)
        self._steps: OrderedDict[tuple[Operation, ...], EditedPrototypes] = OrderedDict()
        self._described: OrderedDict[tuple[bytes, int], tuple[np.ndarray, np.ndarray, int]] = OrderedDict()
        self._assignments: OrderedDict[tuple[tuple[bytes, int], ...], Assignment] = OrderedDict()
        self._first = self._base_assignment()

    @property
    def bytes(self) -> int:
        """The most memory that it holds, beside the store's results."""
        return self._images.z.nbytes + KEPT

    def _base_assignment(self) -> Assignment:
        """The nearest prototypes of the base, as far as its conversion knows them."""
        known, centers = self.conversion, self.conversion.prototypes.centers
        nearest = np.concatenate([known.prototypes.activated, known.test_activated]).astype(np.int32)
        z = self._images.z
        low = distances(z[: len(nearest)], centers[nearest])
        rest = assigned(self._start, Images(z[len(nearest) :]))
        return Assignment(self._start.members, np.concatenate([nearest, rest.nearest]), np.concatenate([low, rest.low]))

    # ---- what edits make -------------------------------------------------------------------------------------------

    def edited(self, operations: Sequence[Operation]) -> EditedPrototypes:
        """What operations make of the base.

        Raises:
            InputError: for an operation that is not possible.
        """
        every = tuple(operations)
        with self._lock:
            done = next((n for n in range(len(every), 0, -1) if every[:n] in self._steps), 0)
            result = self._steps[every[:done]] if done else self._start
            for number in range(done + 1, len(every) + 1):
                result = step(result, every[number - 1], self._bench, number)
                _keep(self._steps, every[:number], result, STEPS)
            return result

    def _assign(self, edited: EditedPrototypes) -> Assignment:
        """The nearest shown prototypes of the images of all splits, one after the other."""
        members = edited.members
        with self._lock:
            if members not in self._assignments:
                among = set(members)
                known = (self._first, *self._assignments.values())
                closest = min(known, key=lambda other: len(among.symmetric_difference(other.members)))
                found = reassigned(closest, edited, self._images)
                _keep(self._assignments, members, found, max(1, KEPT // (8 * len(self._images))))
            self._assignments.move_to_end(members)
            return self._assignments[members]

    def predicted(self, edited: EditedPrototypes) -> np.ndarray:
        """(N + M,) int64, the predicted classes of the training images and the test images."""
        return self._assign(edited).predicted[: self._ends[1]]

    def activated(self, edited: EditedPrototypes) -> np.ndarray:
        """(N + M,) int32, their nearest prototypes, by their places among `edited.shown`."""
        return self._assign(edited).nearest[: self._ends[1]]

    def scores(self, edited: EditedPrototypes, before: EditedPrototypes | None = None) -> EditScores:
        """What edits do to predictions for held-out images.

        Args:
            edited: the prototypes after the edits.
            before: those before them; the base when None.
        """
        now, then = (self._assign(each).predicted for each in (edited, before or self._start))
        return edit_scores(
            self._scored,
            self._untouched,
            [now[rows] for rows in self._places],
            [then[rows] for rows in self._places],
            self.origin,
        )

    def accuracy(self, edited: EditedPrototypes) -> tuple[float, float | None]:
        """The accuracy on the test split, and the agreement with the black box there, None without one."""
        predicted = self._assign(edited).predicted[self._ends[0] : self._ends[1]]
        return metrics.accuracy(predicted, self._test_labels), metrics.black_box_agreement(predicted, self._black_box)

    # ---- description -----------------------------------------------------------------------------------------------

    def prototypes(self, edited: EditedPrototypes) -> Prototypes:
        """The shown prototypes as a conversion describes them, in the order of `edited.shown`."""
        found, labels, shown = self._assign(edited), self.train.labels, edited.shown
        classes, nearest = edited.shown_classes(), found.nearest[: len(labels)]
        from kmex_core.prototypes.fit import activation_counts

        own, every = activation_counts(nearest, labels, classes)
        sizes = np.bincount(labels, minlength=len(self._names))
        images = [self._images_of(edited, p) for p in shown.tolist()]
        return Prototypes(
            centers=edited.shown_centers(),
            classes=classes,
            count=own,
            importance=own / sizes[classes],
            count_all=every,
            nearest=np.stack([rows for rows, _, _ in images]),
            nearest_distance=np.stack([far for _, far, _ in images]),
            nearest_any=np.array([row for _, _, row in images]),
            distance_quantiles=np.quantile(found.low[: len(labels)], np.linspace(0, 1, 101)).astype(np.float32),
            class_size=sizes,
            activated=nearest.astype(np.int32),
            names=tuple(edited.names[p] for p in shown),
            notes=tuple(edited.notes[p] for p in shown),
        )

    def _images_of(self, edited: EditedPrototypes, p: int) -> tuple[np.ndarray, np.ndarray, int]:
        """The nearest training images of a prototype's class, their distances, and the nearest image of any class."""
        base = self.conversion.prototypes
        if p < len(base) and edited.classes[p] == base.classes[p]:
            return base.nearest[p], base.nearest_distance[p], int(base.nearest_any[p])
        key = edited.places[p], edited.classes[p]
        if key not in self._described:
            most, labels, center = base.nearest.shape[1], self.train.labels, edited.centers[p]
            bounds = self._train.lower_bounds(center[None])[0]
            rows, far = self._train.nearest(center, bounds, np.flatnonzero(labels == edited.classes[p]), most)
            of_any, _ = self._train.nearest(center, bounds, np.arange(len(labels)), 1)
            padded = np.full(most, NO_IMAGE), np.full(most, np.inf, dtype=np.float32)
            padded[0][: len(rows)], padded[1][: len(rows)] = rows, far
            _keep(self._described, key, (*padded, int(of_any[0])), STEPS)
        return self._described[key]


def _keep(held: OrderedDict[KeyT, ValueT], key: KeyT, value: ValueT, most: int) -> None:
    """Remember a value, and forget the oldest ones above `most`."""
    held[key] = value
    while len(held) > most:
        held.popitem(last=False)


# ---- sessions --------------------------------------------------------------------------------------------------------

_sessions: OrderedDict[str, EditSession] = OrderedDict()
_opening = threading.Lock()


def session_of(subject: Subject, base: KMeans) -> EditSession:
    """The session of a model and a base, opened if there is none; at most `HELD` bytes of them are held."""
    key = subject.conversion(base).key
    with _opening:
        if key not in _sessions:
            _sessions[key] = EditSession(subject, base)
        _sessions.move_to_end(key)
        while len(_sessions) > 1 and sum(session.bytes for session in _sessions.values()) > HELD:
            _sessions.popitem(last=False)
        return _sessions[key]


@dataclass(frozen=True, eq=False)
class Edits:
    """Edits of a source's prototypes.

    Attributes:
        session: of what was edited first.
        base: the k-means prototypes that this is.
        earlier: the operations of the version that was edited; none for k-means.
        operations: all of them, by the numbers of `base`.
    """

    session: EditSession
    base: KMeans
    earlier: tuple[Operation, ...]
    operations: tuple[Operation, ...]

    @property
    def before(self) -> EditedPrototypes:
        """The prototypes before the edits."""
        return self.session.edited(self.earlier)

    @property
    def after(self) -> EditedPrototypes:
        """The prototypes after them."""
        return self.session.edited(self.operations)

    def scores(self) -> EditScores:
        """What the edits do to predictions, see `EditSession.scores`."""
        return self.session.scores(self.after, self.before)


def edits_of(subject: Subject, source: PrototypeSource, operations: Sequence[Operation]) -> Edits:
    """Edits of the prototypes of a source, checked.

    Args:
        subject: the model.
        source: what is edited: k-means, or a version, whose shown prototypes then have the numbers 0 … K−1.
        operations: the edits.

    Raises:
        InputError: for built-in prototypes, too many operations, or one that is not possible.
    """
    if isinstance(source, Version):
        base, earlier = source.base, source.operations
    elif isinstance(source, KMeans):
        base, earlier = source, ()
    else:
        raise InputError("Built-in prototypes are a part of their network. Only KMEx's prototypes can be edited.")
    session = session_of(subject, base)
    every = (*earlier, *rebased(session.edited(earlier), operations))
    if len(every) > MOST_OPERATIONS:
        raise InputError(f"At most {MOST_OPERATIONS} edits fit into one version, got {len(every):,} in all.")
    session.edited(every)
    return Edits(session, base, earlier, every)
