"""What is in a data set, before anything is computed from it; needs no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.content import as_array, digest_of
from kmex_core.data.dataset import ImageDataset, LeftOut, Split
from kmex_core.data.files import BROKEN, BrokenPictures
from kmex_core.data.opened import dataset

SAMPLE = 1000  # images whose headers are read
THUMBNAILS = 6  # images of each class to show
EXAMPLES = 5  # copies that are named
IMBALANCED = 10.0  # from this ratio of the largest to the smallest class, a report says what follows


@dataclass(frozen=True)
class ClassCount:
    """A class.

    Attributes:
        name: its name.
        images: how many, by split.
        thumbnails: up to `THUMBNAILS` positions in the training split, evenly spaced.
    """

    name: str
    images: Mapping[str, int]
    thumbnails: tuple[int, ...]


@dataclass(frozen=True)
class Storage:
    """How images are stored, from the headers of some.

    Attributes:
        looked_at: how many of the images, evenly spaced over all splits.
        heights, widths: smallest, median and largest, in pixels.
        shapes: how many different ones there are.
        modes: how many are grey, colour, or either with alpha.
        formats: how many are of each format; "" for images in memory.
        several_pages: how many are TIFF files of several pages.
        unused_pages: how many pages these have after their first, which is the only one used.
    """

    looked_at: int
    heights: tuple[int, int, int]
    widths: tuple[int, int, int]
    shapes: int
    modes: Mapping[str, int]
    formats: Mapping[str, int]
    several_pages: int = 0
    unused_pages: int = 0


@dataclass(frozen=True)
class Copies:
    """Images with the same content: of files, or of pixels for images in memory.

    Attributes:
        within: by split, how many images are copies of an earlier one in it.
        across: by pair of splits ("test and train"), how many images of the first are in the second, too.
        examples: the first few pairs across splits, by name.
        contradictions: how many contents occur in more than one class.
    """

    within: Mapping[str, int]
    across: Mapping[str, int]
    examples: tuple[tuple[str, str], ...]
    contradictions: int


@dataclass(frozen=True)
class DatasetReport:
    """A data set, described.

    Attributes:
        name, fingerprint, class_column, channels, image_size: see `ImageDataset`.
        read_as: how its files were read; "" for a registered data set.
        images: how many, by split.
        test_from: see `ImageDataset`.
        classes: in the order of the labels.
        imbalance: training images of the largest class divided by those of the smallest, at least 1.
        smallest: the name of the smallest class.
        storage: sizes, modes and formats.
        copies: images that occur several times.
        unreadable: pictures that cannot be decoded.
        left_out: everything else that is in no split, by reason.
        notes: what a person should know, the most important first.
    """

    name: str
    fingerprint: str
    class_column: str
    channels: int
    image_size: int
    read_as: str
    images: Mapping[str, int]
    test_from: str
    classes: tuple[ClassCount, ...]
    imbalance: float
    smallest: str
    storage: Storage
    copies: Copies
    unreadable: LeftOut | None
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


KEYS = frozenset(entry.name for entry in fields(DatasetReport))


def report(spec: DatasetSpec, sample: int = SAMPLE, progress: Progress = silent) -> DatasetReport:
    """The report of a data set; pictures that cannot be decoded are reported, whether they are to be left out or not.

    Args:
        spec: which data set.
        sample: how many images' headers to read; 0 for all.
        progress: called while files are read for the first time, and while headers are read.

    Raises:
        InputError: when it cannot be a data set at all, see `registry.load`.
    """
    refused = ""
    try:
        data = dataset(spec, progress)
    except BrokenPictures as error:
        refused = str(error)
        data = dataset(replace(spec, skip_broken=True), progress)
    counts = {
        name: np.bincount(split.labels, minlength=len(data.class_names)).tolist() for name, split in data.splits.items()
    }
    classes = tuple(
        ClassCount(name, {split: of[label] for split, of in counts.items()}, _spread(data.split("train"), label))
        for label, name in enumerate(data.class_names)
    )
    smallest = min(range(len(classes)), key=lambda label: counts["train"][label])
    imbalance = max(counts["train"]) / max(counts["train"][smallest], 1)
    broken = next((item for item in data.left_out if item.reason == BROKEN), None)
    copies, storage = _copies(data), _storage(data, sample, progress)
    return DatasetReport(
        name=data.name,
        fingerprint=data.fingerprint,
        class_column=data.class_column,
        channels=data.channels,
        image_size=data.image_size,
        read_as=data.read_as,
        images={name: len(split) for name, split in data.splits.items()},
        test_from=data.test_from,
        classes=classes,
        imbalance=imbalance,
        smallest=data.class_names[smallest],
        storage=storage,
        copies=copies,
        unreadable=broken,
        left_out=tuple(item for item in data.left_out if item.reason != BROKEN),
        notes=(
            *filter(
                None,
                (
                    refused,
                    _imbalance_note(imbalance, classes[smallest]),
                    _contradictions_note(copies),
                    _pages_note(storage),
                ),
            ),
            *data.notes,
        ),
    )


def _spread(train: Split, label: int) -> tuple[int, ...]:
    """Some training images of a class, evenly spaced."""
    members = np.flatnonzero(train.labels == label)
    if not len(members):
        return ()
    chosen = np.unique(np.linspace(0, len(members) - 1, min(THUMBNAILS, len(members))).astype(int))
    return tuple(int(members[at]) for at in chosen)


def _storage(data: ImageDataset, sample: int, progress: Progress) -> Storage:
    total = sum(len(split) for split in data.splits.values())
    count = min(sample or total, total)
    ends = np.cumsum([len(split) for split in data.splits.values()])
    parts, modes, formats, shapes, pages = list(data.splits.values()), Counter[str](), Counter[str](), [], []
    for done, position in enumerate(np.unique(np.linspace(0, total - 1, count).astype(int))):
        if done % 100 == 0:
            progress(Event("Reading headers", done, count))
        at = int(np.searchsorted(ends, position, side="right"))
        header = parts[at].header(int(position - (ends[at - 1] if at else 0)))
        shapes.append(header.shape)
        modes[("grey" if header.grey else "colour") + (" with alpha" if header.alpha else "")] += 1
        formats[header.format] += 1
        pages.append(header.pages)
    progress(Event("Reading headers", count, count))
    heights, widths = np.array(shapes).T

    def three(values: np.ndarray) -> tuple[int, int, int]:
        return int(values.min()), int(np.median(values)), int(values.max())

    return Storage(
        len(shapes),
        three(heights),
        three(widths),
        len(set(shapes)),
        dict(modes.most_common()),
        dict(formats.most_common()),
        sum(of > 1 for of in pages),
        sum(pages) - len(pages),
    )


def _contents(split: Split) -> np.ndarray:
    """(N,) what is equal for equal images, in whichever split."""
    if split.identity.dtype.kind == "S":
        return split.identity
    return as_array(
        b"".join(digest_of([np.ascontiguousarray(split.image(row)).tobytes()]) for row in range(len(split)))
    )


def _copies(data: ImageDataset) -> Copies:
    contents = {name: _contents(split) for name, split in data.splits.items()}
    across, examples = dict[str, int](), list[tuple[str, str]]()
    names = list(contents)
    for at, second in enumerate(names):
        for first in names[at + 1 :]:
            shared = np.flatnonzero(np.isin(contents[first], contents[second]))
            across[f"{first} and {second}"] = len(shared)
            for row in shared[: EXAMPLES - len(examples)]:
                twin = int(np.flatnonzero(contents[second] == contents[first][row])[0])
                examples.append((data.split(first).title(int(row)), data.split(second).title(twin)))
    every = np.concatenate(list(contents.values()))
    labels = np.concatenate([split.labels for split in data.splits.values()])
    _, content = np.unique(every, return_inverse=True)
    pairs = np.unique(np.stack([content, labels], 1), axis=0)
    return Copies(
        {name: len(of) - len(np.unique(of)) for name, of in contents.items()},
        across,
        tuple(examples),
        int((np.bincount(pairs[:, 0]) > 1).sum()),
    )


def _imbalance_note(imbalance: float, smallest: ClassCount) -> str:
    if imbalance < IMBALANCED:
        return ""
    return (
        f"The largest class has {imbalance:.0f} times as many training images as '{smallest.name}' "
        f"({smallest.images['train']:,}): accuracy over all images says little about small classes."
    )


def _contradictions_note(copies: Copies) -> str:
    count = copies.contradictions
    if not count:
        return ""
    what = "1 image occurs" if count == 1 else f"{count:,} images occur"
    return f"{what} in more than one class: no classifier can be right about all copies."


def _pages_note(storage: Storage) -> str:
    count, unused = storage.several_pages, storage.unused_pages
    if not count:
        return ""
    which = (
        f"1 of {storage.looked_at:,} images looked at is a TIFF file"
        if count == 1
        else (f"{count:,} of {storage.looked_at:,} images looked at are TIFF files")
    )
    others = "1 other page is" if unused == 1 else f"{unused:,} other pages are"
    return f"{which} of several pages. The first page is used; {others} not."
