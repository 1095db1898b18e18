"""Edited prototypes: what a list of operations makes of the prototypes of a source. Needs no torch, but to split."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.prototypes.operations import Add, Hide, Merge, Move, Name, Note, Operation, Show, Split

SHOWN, HIDDEN, GONE = "shown", "hidden", "gone"
BLOCK = 1 << 18  # numbers of a part of the embedding, in float64: what a core's cache holds


@dataclass(frozen=True, eq=False)
class EditedPrototypes:
    """Prototypes by their numbers, which no later operation changes. P in all, gone ones included.

    Attributes:
        centers: P arrays (D,) float32, in the metric's space.
        places: P digests of the centers, equal for equal ones.
        classes: P classes.
        states: P of `SHOWN`, `HIDDEN` (may be shown again) and `GONE` (merged or split).
        names, notes: P texts, "" for none.
    """

    centers: tuple[np.ndarray, ...]
    places: tuple[bytes, ...]
    classes: tuple[int, ...]
    states: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def shown(self) -> np.ndarray:
        """(K,) int64, the numbers of the prototypes that take part, in the order of their class."""
        numbers = np.array([p for p, state in enumerate(self.states) if state == SHOWN], dtype=np.int64)
        return numbers[np.argsort(np.array(self.classes)[numbers], kind="stable")]

    @property
    def members(self) -> tuple[tuple[bytes, int], ...]:
        """The place and the class of each of `shown`, which is all that predictions depend on."""
        return tuple((self.places[p], self.classes[p]) for p in self.shown.tolist())

    def shown_centers(self) -> np.ndarray:
        """(K, D) float32, the centers of `shown`."""
        return np.stack([self.centers[p] for p in self.shown.tolist()])

    def shown_classes(self) -> np.ndarray:
        """(K,) int64, the classes of `shown`."""
        return np.array(self.classes, dtype=np.int64)[self.shown]

    def empty_classes(self, classes: int) -> list[int]:
        """The classes, of C, without a prototype: no image is predicted as one of them."""
        return np.flatnonzero(np.bincount(self.shown_classes(), minlength=classes) == 0).tolist()


@dataclass(frozen=True, eq=False)
class Workbench:
    """What operations are applied to.

    Attributes:
        z: (N, D) float32, the training embedding in the space of the prototypes.
        labels: (N,) the classes.
        class_names: C names.
        seed: of the base, for 2-means.
        assign: the nearest shown prototypes of the training images, and maybe of others after them; `assigned` when
            None.
    """

    z: np.ndarray
    labels: np.ndarray
    class_names: Sequence[str]
    seed: int = 0
    assign: Callable[[EditedPrototypes], Assignment] | None = None

    def images_of(self, edited: EditedPrototypes, p: int) -> np.ndarray:
        """(n,) the training images of the class of prototype `p` that activate it."""
        found = assigned(edited, Images(self.z)) if self.assign is None else self.assign(edited)
        own = self.labels == edited.classes[p]
        return np.flatnonzero(own & (edited.shown[found.nearest[: len(own)]] == p))


def untouched(
    centers: np.ndarray, classes: np.ndarray, names: Sequence[str] = (), notes: Sequence[str] = ()
) -> EditedPrototypes:
    """The prototypes of a base, (K, D) and (K,), before any operation."""
    count, each = len(centers), tuple(np.asarray(centers, dtype=np.float32))
    return EditedPrototypes(
        each,
        tuple(_digest(center) for center in each),
        tuple(int(label) for label in classes),
        (SHOWN,) * count,
        tuple(names) or ("",) * count,
        tuple(notes) or ("",) * count,
    )


def apply(base: EditedPrototypes, operations: Iterable[Operation], bench: Workbench) -> EditedPrototypes:
    """What operations make of prototypes, one after the other.

    Raises:
        InputError: for an operation that is not possible; the message says which and why.
    """
    edited = base
    for number, operation in enumerate(operations, 1):
        edited = step(edited, operation, bench, number)
    return edited


def step(edited: EditedPrototypes, operation: Operation, bench: Workbench, number: int = 1) -> EditedPrototypes:
    """What one operation makes of prototypes.

    Args:
        edited: before it.
        operation: the edit.
        bench: the training images.
        number: of the operation, for messages.

    Raises:
        InputError: when it is not possible.
    """
    where = f"Edit {number} ({operation.op})"
    match operation:
        case Hide(p):
            return _hidden(edited, _checked(edited, p, where), where)
        case Show(p):
            if _known(edited, p, where) != HIDDEN:
                raise InputError(f"{where}: prototype {p} is {edited.states[p]}, so it cannot be shown again.")
            return replace(edited, states=_changed(edited.states, {p: SHOWN}))
        case Move(p, label):
            return _moved(edited, _checked(edited, p, where), _label(bench, label, where), where)
        case Merge((first, second)):
            return _merged(edited, _checked(edited, first, where), _checked(edited, second, where), bench, where)
        case Split(p):
            return _split(edited, _checked(edited, p, where), bench, where)
        case Add(image, label):
            return _added(edited, image, label, bench, where)
        case Name(p, name):
            _checked(edited, p, where, hidden=True)
            return replace(edited, names=_changed(edited.names, {p: name}))
        case Note(p, note):
            _checked(edited, p, where, hidden=True)
            return replace(edited, notes=_changed(edited.notes, {p: note}))
    raise InputError(f"{where}: there is no such edit.")


def rebased(edited: EditedPrototypes, operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Operations on the shown prototypes of `edited`, numbered 0 … K−1, by the numbers that they have in `edited`."""
    shown = edited.shown.tolist()

    def number(p: int) -> int:
        return shown[p] if p < len(shown) else len(edited) + p - len(shown)

    found: list[Operation] = []
    for operation in operations:
        if isinstance(operation, Merge):
            found.append(Merge((number(operation.p[0]), number(operation.p[1]))))
        elif isinstance(operation, Add):
            found.append(operation)
        else:
            found.append(replace(operation, p=number(operation.p)))  # type: ignore[call-arg, attr-defined]
    return tuple(found)


# ---- distances -------------------------------------------------------------------------------------------------------


def distances(z: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(N,) float32, the Euclidean distances of embeddings (N, D) to a point (D,), or of each to one of (N, D),
    computed in float64."""
    found = np.empty(len(z), dtype=np.float32)
    rows = max(1, BLOCK // max(1, z.shape[1]))
    for start in range(0, len(z), rows):
        part = slice(start, start + rows)
        apart = np.subtract(z[part], centers if centers.ndim == 1 else centers[part], dtype=np.float64)
        found[part] = np.sqrt(np.einsum("nd,nd->n", apart, apart))
    return found


class Images:
    """The embeddings of N images in the space of the prototypes, (N, D), with what makes searching them fast.

    Args:
        z: (N, D) float32.
    """

    def __init__(self, z: np.ndarray) -> None:
        self.z = z

    def __len__(self) -> int:
        return len(self.z)

    @cached_property
    def _squares(self) -> np.ndarray:
        return np.einsum("nd,nd->n", self.z, self.z)

    def lower_bounds(self, centers: np.ndarray) -> np.ndarray:
        """(K, N) float32, each at most the squared distance of an image to one of (K, D) centers, and nearly that.

        By a product of float32 numbers, which takes a fraction of the time of `distances`.
        """
        scale = np.einsum("kd,kd->k", centers, centers)[:, None] + self._squares
        # a sum of D products is rounded by at most D u Σ|x y| (Higham, Accuracy and Stability, 3.1); 2|x y| ≤ x² + y²
        slack = np.float32((self.z.shape[1] + 8) * np.finfo(np.float32).eps)
        bounds: np.ndarray = centers @ self.z.T
        bounds *= -2
        scale *= 1 - slack
        bounds += scale
        return bounds

    def nearest(
        self, center: np.ndarray, bounds: np.ndarray, rows: np.ndarray, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The images nearest to a center (D,), with its `lower_bounds` (N,), among `rows`: at most so many, and their
        distances, nearest first."""
        bounds = bounds[rows]
        if len(rows) > most:
            # no image beyond the exact distance of the `most` nearest by their bounds can be nearer
            likely = rows[np.argpartition(bounds, most - 1)[:most]]
            rows = rows[bounds <= _squared_up(distances(self.z[likely], center).max(keepdims=True))]
        far = distances(self.z[rows], center)
        order = np.argsort(far, kind="stable")[:most]
        return rows[order], far[order]


def _squared_up(distance: np.ndarray) -> np.ndarray:
    """Squares of float32 distances, rounded up."""
    return np.square(distance * np.float32(1 + 1e-6))


@dataclass(frozen=True, eq=False)
class Assignment:
    """The nearest shown prototype of each of N images.

    Attributes:
        members: see `EditedPrototypes.members`.
        nearest: (N,) int32, the place of each image's nearest prototype among `members`: the first of equally near
            ones.
        low: (N,) float32, how far it is.
    """

    members: tuple[tuple[bytes, int], ...]
    nearest: np.ndarray
    low: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """(N,) int64, its class."""
        return np.array([label for _, label in self.members], dtype=np.int64)[self.nearest]


def assigned(edited: EditedPrototypes, images: Images) -> Assignment:
    """The nearest shown prototype of each image."""
    nothing = Assignment((), np.zeros(len(images), dtype=np.int32), np.full(len(images), np.inf, dtype=np.float32))
    return reassigned(nothing, edited, images)


def reassigned(before: Assignment, edited: EditedPrototypes, images: Images) -> Assignment:
    """`assigned`, from the assignment of the same images to other prototypes.

    Only images whose nearest prototype went are compared with all others; each other one with those that came, as far
    as a bound of its distance does not rule them out. A prototype that was moved to another class, or has another
    place among the others, went and came: which of equally near ones counts depends on both.

    Args:
        before: the nearest of other prototypes.
        edited: those that are shown now.
        images: all of them.
    """
    centers, members = edited.shown_centers(), edited.members
    first = {member: place for place, member in reversed(list(enumerate(members)))}
    # (K before,) the places of those that stay, −1 for others, whose images are searched anew
    stays = np.array([first.get(member, -1) for member in before.members] or [-1], dtype=np.int32)
    stays[~in_order(stays)] = -1
    nearest, low = stays[before.nearest], before.low.copy()
    searched, known = nearest < 0, set(stays.tolist())
    came = [] if searched.all() else [place for place in first.values() if place not in known]
    _search(images.z, centers, np.flatnonzero(searched), nearest, low)
    for place, bounds in zip(came, images.lower_bounds(centers[came]) if came else (), strict=True):
        rows = np.flatnonzero(~searched & (bounds <= _squared_up(low)))
        far = distances(images.z[rows], centers[place])
        nearer = (far < low[rows]) | ((far == low[rows]) & (place < nearest[rows]))
        nearest[rows[nearer]], low[rows[nearer]] = place, far[nearer]
    return Assignment(members, nearest, low)


def in_order(places: np.ndarray) -> np.ndarray:
    """Which of (K,) places are a longest sequence that never falls; those below 0 are none of it."""
    ends: list[int] = []  # of the sequence of each length, the index of its smallest end
    before = np.full(len(places), -1)
    for index, place in enumerate(places.tolist()):
        if place < 0:
            continue
        length = bisect.bisect_right(ends, place, key=places.__getitem__)
        before[index] = ends[length - 1] if length else -1
        ends[length : length + 1] = [index]
    found, index = np.zeros(len(places), dtype=bool), ends[-1] if ends else -1
    while index >= 0:
        found[index], index = True, int(before[index])
    return found


def _search(z: np.ndarray, centers: np.ndarray, rows: np.ndarray, nearest: np.ndarray, low: np.ndarray) -> None:
    """Write the nearest of (K, D) centers, and how far it is, into the `rows` of `nearest` and `low`."""
    if not len(rows):
        return
    import torch

    from kmex_core.prototypes.fit import ROWS, by_products

    place = torch.from_numpy(centers)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        far = by_products(torch.from_numpy(z[part]), place)
        which = far.argmin(1)
        nearest[part], low[part] = which.numpy(), far.gather(1, which[:, None])[:, 0].numpy()


# ---- operations ------------------------------------------------------------------------------------------------------


def _digest(center: np.ndarray) -> bytes:
    return hashlib.blake2b(center.tobytes(), digest_size=16).digest()


def _changed(values: tuple[Any, ...], new: dict[int, Any]) -> tuple[Any, ...]:
    return tuple(new.get(p, value) for p, value in enumerate(values))


def _known(edited: EditedPrototypes, p: int, where: str) -> str:
    """The state of a prototype."""
    if p >= len(edited):
        raise InputError(f"{where}: there is no prototype {p}; they are numbered 0 to {len(edited) - 1}.")
    return edited.states[p]


def _checked(edited: EditedPrototypes, p: int, where: str, hidden: bool = False) -> int:
    state = _known(edited, p, where)
    if state == GONE:
        raise InputError(f"{where}: prototype {p} is gone, since it was merged or split before.")
    if state == HIDDEN and not hidden:
        raise InputError(f"{where}: prototype {p} is hidden. Show it first.")
    return p


def _label(bench: Workbench, label: int, where: str) -> int:
    if label >= len(bench.class_names):
        raise InputError(f"{where}: there is no class {label}; they are numbered 0 to {len(bench.class_names) - 1}.")
    return label


def _hidden(edited: EditedPrototypes, p: int, where: str) -> EditedPrototypes:
    if edited.states.count(SHOWN) == 1:
        raise InputError(
            f"{where}: prototype {p} is the last one that is shown. Nothing could be predicted without it."
        )
    return replace(edited, states=_changed(edited.states, {p: HIDDEN}))


def _moved(edited: EditedPrototypes, p: int, label: int, where: str) -> EditedPrototypes:
    if edited.classes[p] == label:
        raise InputError(f"{where}: prototype {p} is of class {label} already.")
    return replace(edited, classes=_changed(edited.classes, {p: label}))


def _appended(edited: EditedPrototypes, center: np.ndarray, label: int, name: str = "") -> EditedPrototypes:
    place = np.asarray(center, dtype=np.float32)
    return EditedPrototypes(
        (*edited.centers, place),
        (*edited.places, _digest(place)),
        (*edited.classes, label),
        (*edited.states, SHOWN),
        (*edited.names, name),
        (*edited.notes, ""),
    )


def _merged(edited: EditedPrototypes, p: int, q: int, bench: Workbench, where: str) -> EditedPrototypes:
    label, other = edited.classes[p], edited.classes[q]
    if label != other:
        names = bench.class_names
        raise InputError(
            f"{where}: prototype {p} is of class '{names[label]}' and prototype {q} of '{names[other]}'. Only "
            "prototypes of one class can be merged: move one of them first."
        )
    weights = [len(bench.images_of(edited, each)) for each in (p, q)]
    if sum(weights) == 0:  # two ghosts
        weights = [1, 1]
    center = np.average(np.stack([edited.centers[p], edited.centers[q]]).astype(np.float64), axis=0, weights=weights)
    gone = replace(edited, states=_changed(edited.states, {p: GONE, q: GONE}))
    return _appended(gone, center, label, edited.names[p] or edited.names[q])


def _split(edited: EditedPrototypes, p: int, bench: Workbench, where: str) -> EditedPrototypes:
    label = edited.classes[p]
    rows = bench.images_of(edited, p)
    if len(rows) < 2:
        raise InputError(
            f"{where}: prototype {p} is nearest to {len(rows)} training image{'s' * (len(rows) != 1)} of its class. "
            "Splitting takes at least two."
        )
    import torch

    from kmex_core.prototypes.kmeans import kmeans

    # one seed per prototype: what else was edited does not change how it splits
    seed = int(np.random.SeedSequence([bench.seed, p]).generate_state(1)[0])
    centers = kmeans(torch.from_numpy(bench.z[rows]), 2, seed).centers.numpy()
    if len(centers) < 2:
        raise InputError(f"{where}: all {len(rows):,} images of prototype {p} have the same embedding.")
    gone = replace(edited, states=_changed(edited.states, {p: GONE}))
    for center in centers:
        gone = _appended(gone, center, label, edited.names[p])
    return gone


def _added(edited: EditedPrototypes, image: int, label: int | None, bench: Workbench, where: str) -> EditedPrototypes:
    if image >= len(bench.z):
        raise InputError(f"{where}: there is no training image {image}; they are numbered 0 to {len(bench.z) - 1:,}.")
    own = int(bench.labels[image])
    return _appended(edited, bench.z[image], own if label is None else _label(bench, label, where))
