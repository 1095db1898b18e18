"""Checks of every data set before anything is computed from it: classes, labels and counts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.data.dataset import ImageDataset, LeftOut, Split, Subset

MANY = 20  # from this many classes, one image each looks like identifiers


def judged(data: ImageDataset) -> ImageDataset:
    """A data set fit for training, conversion and evaluation, with notes for people.

    Classes without training images are left out, together with their test images.

    Raises:
        InputError: when a label is out of range, there are fewer than two classes or no test images, classes differ
            only in case and one has no training images, or every image is its own class.
    """
    counts = {name: _counted(data, name, split) for name, split in data.splits.items()}
    alike = _lookalikes(data, counts)
    data, counts, notes = _with_training_images(data, counts)
    notes += alike
    train, test = counts["train"], counts["test"]
    if len(train) < 2:
        only = f"'{data.class_names[0]}' ({train[0]:,} training images)" if len(train) else "none"
        raise InputError(
            f"Data set '{data.name}' has one class with training images: {only}. A classifier needs at least two."
            + (f" {' '.join(notes)}" if notes else "")
        )
    if len(train) >= MANY and train.max() == 1:
        raise InputError(
            f"Data set '{data.name}' has {len(train):,} classes for {train.sum():,} training images, one each: its "
            f"labels ({first_few(data.class_names)}) look like identifiers. Name a column that is the class (--class)."
        )
    if test.sum() == 0:
        raise InputError(
            f"Data set '{data.name}' has no test images for the classes with training images: "
            f"{first_few(data.class_names)}." + (f" {' '.join(notes)}" if notes else "")
        )
    unmeasured = [f"'{data.class_names[label]}' ({train[label]:,})" for label in np.flatnonzero(test == 0)]
    if unmeasured:
        notes.append(
            f"{len(unmeasured):,} of {len(test):,} classes have no test images, so their accuracy is not measured; "
            f"with their training images: {first_few(unmeasured)}."
        )
    if data.left_out:
        notes.append(left_out_in_words(data.left_out))
    return replace(data, notes=(*data.notes, *notes))


def left_out_in_words(left_out: Sequence[LeftOut]) -> str:
    """The skipped files, as a sentence."""
    parts = [
        f"{item.count:,} {item.reason} ({first_few(item.names, 2 if item.count > 2 else 3)})"
        if item.count <= len(item.names)
        else f"{item.count:,} {item.reason} ({item.names[0]}, …)"
        for item in left_out
    ]
    return f"Left out: {'; '.join(parts)}."


def _counted(data: ImageDataset, name: str, split: Split) -> np.ndarray:
    labels = split.labels
    if len(labels) and (labels.min() < 0 or labels.max() >= len(data.class_names)):
        raise InputError(
            f"The {name} labels of '{data.name}' run from {labels.min()} to {labels.max()}, but there are "
            f"{len(data.class_names)} class names (expected 0 to {len(data.class_names) - 1})."
        )
    return np.bincount(labels, minlength=len(data.class_names))


def _lookalikes(data: ImageDataset, counts: dict[str, np.ndarray]) -> list[str]:
    """Refuse class names that look the same if only one of them has training images; note other such names."""
    alike: dict[str, list[int]] = {}
    for label, name in enumerate(data.class_names):
        alike.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(label)
    notes = []
    for labels in (labels for labels in alike.values() if len(labels) > 1):
        names = [data.class_names[label] for label in labels]
        if len(set(names)) < len(names):
            raise InputError(f"Data set '{data.name}' has two classes named '{names[0]}'. Rename one of them.")
        train = counts["train"][labels]
        others = np.sum([part[labels] for name, part in counts.items() if name != "train"], axis=0)
        shown = " and ".join(
            f"'{name}' ({of_train:,} training and {of_others:,} other images)"
            for name, of_train, of_others in zip(names, train, others, strict=True)
        )
        if ((train == 0) & (others > 0)).any():
            raise InputError(
                f"The classes {shown} of '{data.name}' differ only in case or spaces, and not all of them have "
                "training images. Use one name per class in all splits."
            )
        if (train > 0).sum() > 1:
            notes.append(f"The classes {shown} differ only in case or spaces.")
    return notes


def _with_training_images(
    data: ImageDataset, counts: dict[str, np.ndarray]
) -> tuple[ImageDataset, dict[str, np.ndarray], list[str]]:
    empty = np.flatnonzero(counts["train"] == 0)
    if not len(empty):
        return data, counts, []
    named = [
        f"'{data.class_names[label]}'" + (f" ({counts['test'][label]:,} test images)" if counts["test"][label] else "")
        for label in empty
    ]
    populated = np.flatnonzero(counts["train"])
    place = np.full(len(data.class_names), -1, dtype=np.int64)
    place[populated] = np.arange(len(populated))
    splits: dict[str, Split] = {}
    for name, split in data.splits.items():
        rows = np.flatnonzero(place[split.labels] >= 0)
        part = Subset(split, rows)
        part.labels = place[part.labels]
        splits[name] = part
    note = (
        f"Left out, because there are no training images: class{'es' if len(empty) > 1 else ''} {first_few(named, 8)}."
    )
    names = tuple(data.class_names[label] for label in populated)
    counts = {name: np.bincount(split.labels, minlength=len(names)) for name, split in splits.items()}
    return replace(data, splits=splits, class_names=names), counts, [note]
