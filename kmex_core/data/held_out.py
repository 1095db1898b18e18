"""The test split: the data set's own, its validation split, or a fifth of each class, held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.data.dataset import Split, Subset

HELD_OUT = 0.2
MOST_HELD_OUT = 0.4  # of a class, where whole sessions are held out


@dataclass(frozen=True)
class Divided:
    """A data set's splits, including one for testing.

    Attributes:
        splits: "train" and "test", and "validation" where there is one beside the test split.
        test_from: see `ImageDataset`.
        notes: the origin of the test split, and the number of copies among the training images.
        marks: what the choice adds to the fingerprint.
    """

    splits: dict[str, Split]
    test_from: str
    notes: tuple[str, ...]
    marks: tuple[str, ...] = ()


def with_test_split(
    splits: Mapping[str, Split], class_names: Sequence[str], sessions: np.ndarray | None = None
) -> Divided:
    """Training and test split: the test split, else the validation split, else a fifth of each class (seed 0).

    Args:
        splits: "train", and any of "test" and "validation".
        class_names: C names.
        sessions: (N,) the session in which each training image was taken, "" for none: whole sessions are held out
            where that leaves every class on both sides; None where there are no sessions.

    Raises:
        InputError: when no class has enough images to hold some out.
    """
    train = splits["train"]
    nonempty = {name: split for name, split in splits.items() if len(split)}
    copies = _copies_note(train)
    if "test" in nonempty:
        ordered: dict[str, Split] = {
            name: nonempty[name] for name in ("train", "test", "validation") if name in nonempty
        }
        return Divided(ordered, "test", copies)
    if "validation" in nonempty:
        count = len(nonempty["validation"])
        note = f"The data set has no test split; its validation split ({count:,} images) is used as the test split."
        return Divided({"train": train, "test": nonempty["validation"]}, "validation", (note, *copies))
    if sessions is not None and (whole := held_out_sessions(train, sessions, len(class_names))) is not None:
        rest = np.setdiff1d(np.arange(len(train)), whole)
        return Divided(
            {"train": Subset(train, rest), "test": Subset(train, whole)},
            "held out",
            (_sessions_note(train, sessions, whole, len(class_names)), *copies),
            ("whole sessions",),
        )
    chosen = _held_out(train, len(class_names))
    if len(chosen) == 0:
        raise InputError(
            "The data set has no test split, and too few images to hold some out. Add a test split, or at least 5 "
            "different training images per class."
        )
    remaining = np.setdiff1d(np.arange(len(train)), chosen)
    note = (
        f"The data set has no test split; {len(chosen):,} of its {len(train):,} training images (a fifth of each "
        "class) are held out as one" + ("; identical images stay on the same side." if copies else ".")
    )
    if sessions is not None:
        note += (
            " Images of one session are on both sides, because the sessions are too few or too large to hold out whole "
            "ones of each class: results on the test split may be too optimistic."
        )
    # without copies, older versions held out the same images: the fingerprint stays the same
    marks = ("copies together",) if copies else ()
    return Divided(
        {"train": Subset(train, remaining), "test": Subset(train, chosen)}, "held out", (note, *copies), marks
    )


def held_out_sessions(train: Split, sessions: np.ndarray, classes: int) -> np.ndarray | None:
    """The rows of whole sessions to hold out, ascending: about a fifth of each class, with seed 0.

    Sessions that share an identical image count as one. One is held out if a class of it has less than a fifth held
    out so far, and no class would then have more than `MOST_HELD_OUT` of its images held out.

    Args:
        train: N images.
        sessions: (N,) names, "" for an image without a session, which is one of its own.
        classes: C.

    Returns:
        None unless every class that has images keeps some and has some held out.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    names, session = np.unique(sessions, return_inverse=True)
    alone = np.flatnonzero(sessions == "")
    session[alone] = len(names) + np.arange(len(alone))
    _, content = np.unique(train.identity, return_inverse=True)
    # sessions and contents are nodes, images are edges: what is connected stays on one side
    first = len(names) + len(alone)
    nodes = first + len(train)
    edges = coo_matrix((np.ones(len(train), dtype=bool), (session, first + content)), (nodes, nodes))
    _, group = np.unique(connected_components(edges, directed=False)[1][session], return_inverse=True)
    counts = np.zeros((group.max() + 1, classes), dtype=np.int64)
    np.add.at(counts, (group, train.labels), 1)
    total = counts.sum(0)
    held = np.zeros(classes, dtype=np.int64)
    taken = []
    for number in np.random.default_rng(0).permutation(len(counts)):
        wanted = (counts[number] > 0) & (held < HELD_OUT * total)
        if wanted.any() and (held + counts[number] <= MOST_HELD_OUT * total).all():
            held += counts[number]
            taken.append(number)
    occurs = total > 0
    if not (held[occurs] > 0).all():
        return None
    return np.flatnonzero(np.isin(group, taken))


def _sessions_note(train: Split, sessions: np.ndarray, chosen: np.ndarray, classes: int) -> str:
    shares = np.bincount(train.labels[chosen], minlength=classes) / np.maximum(
        np.bincount(train.labels, minlength=classes), 1
    )
    shares = shares[shares > 0]
    held, every = (len(np.unique(part[part != ""])) for part in (sessions[chosen], sessions))
    return (
        f"The data set has no test split; {len(chosen):,} of its {len(train):,} training images are held out as one: "
        f"{held:,} of {every:,} sessions, each as a whole, with {shares.min():.0%} to {shares.max():.0%} of each class."
    )


def _copies_note(train: Split) -> tuple[str, ...]:
    copies = len(train) - len(np.unique(train.identity))
    many = "is a copy of another" if copies == 1 else "are copies of others"
    return (f"{copies:,} of the {len(train):,} training images {many}.",) if copies else ()


def _held_out(train: Split, classes: int) -> np.ndarray:
    """The rows of a fifth of each class's images, ascending; copies of an image stay on the same side.

    A class gives at most a fifth of its images and of its different images, so an image with many copies is never all
    that a side has of its class. An image in several classes counts for the rarest of them.
    """
    labels = train.labels
    _, content = np.unique(train.identity, return_inverse=True)
    sizes = np.bincount(content)
    rarest_last = np.argsort(-np.bincount(labels)[labels], kind="stable")
    owner = np.empty(len(sizes), dtype=np.int64)
    owner[content[rarest_last]] = labels[rarest_last]
    random = np.random.default_rng(0)
    held: list[int] = []
    for label in range(classes):
        members = np.flatnonzero(owner[content] == label)
        drawn = dict.fromkeys(content[random.permutation(members)].tolist())
        most, images = int(len(drawn) * HELD_OUT), int(len(members) * HELD_OUT)
        for group in drawn:
            if most and sizes[group] <= images:
                held.append(group)
                most, images = most - 1, images - int(sizes[group])
    return np.flatnonzero(np.isin(content, held))
