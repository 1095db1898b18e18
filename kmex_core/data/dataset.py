"""A labelled image data set with a training and a test split, independent of how it is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base import cores
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.data.content import Watch, digest_of
from kmex_core.data.listing import Files, FileState
from kmex_core.data.network_input import to_channels, to_pixels
from kmex_core.data.pictures import DECODER, Header, read_header, read_picture
from kmex_core.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

CONTENT = "c1-"  # prefix of fingerprints of content
SURVEYED = 64
STATISTICS_BATCH = 128
MOST_DECODERS = 16  # threads


class Split(ABC):
    """Labelled images, read one by one or in batches.

    Attributes:
        labels: (N,) int64.
        attribute_names: names of the A attributes of the images; empty without attributes.
        attributes: (N, A) bool.
        known: (N, A) bool, which values are known (the others are False); None when all are.
        identity: (N,) equal for equal images, whichever column is the class: the digests of their files, as bytes, or
            the indices of images in memory.
    """

    labels: np.ndarray
    identity: np.ndarray
    attribute_names: tuple[str, ...] = ()
    attributes: np.ndarray = np.empty((0, 0), dtype=bool)
    known: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """The original image for display: (H, W) or (H, W, 3) uint8."""

    def images(self, indices: Sequence[int] | np.ndarray) -> Iterable[np.ndarray]:
        """The original images at `indices`, one at a time; one array for images in memory."""
        return (self.image(int(index)) for index in indices)

    def header(self, index: int) -> Header:
        """What the image is stored as; for images in memory without a format."""
        image = self.image(index)
        return Header(image.shape[:2], image.ndim == 2, DECODER, "", False)

    def file_name(self, index: int) -> str | None:
        """The path of the image's file in its data set, with `/`; None for an image that is no file."""
        return None

    def title(self, index: int) -> str:
        """The name of the image's file, or its place in the split."""
        return self.file_name(index) or f"image {index}"


class ArraySplit(Split):
    """Images in memory.

    Args:
        pixels: (N, H, W) or (N, H, W, 3) uint8.
        labels: (N,) integers.
    """

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels = pixels
        self.labels = np.asarray(labels, dtype=np.int64)
        self.identity = np.arange(len(self.labels))

    def image(self, index: int) -> np.ndarray:
        return np.asarray(self.pixels[index])

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.pixels[np.asarray(indices)]


Sources = Sequence[FileState] | Sequence[Path] | Sequence[bytes]


def survey(sources: Sources, where: str) -> tuple[set[tuple[int, int]], int, str]:
    """The shapes (H, W) of some encoded images, the channels (1 only if all are stored as grey, else 3), and the newest
    decoder version they need, for the fingerprint."""
    shapes, grey, decoder = set(), True, DECODER
    for index in np.unique(np.linspace(0, len(sources) - 1, SURVEYED).astype(int)):
        header = read_header(*_named(sources, int(index), where))
        shapes.add(header.shape)
        grey = grey and header.grey
        decoder = max(decoder, header.decoder)
    return shapes, 1 if grey else 3, decoder


def _named(sources: Sources, index: int, where: str) -> tuple[bytes | Path, str]:
    """An encoded image, and its name in messages.

    Raises:
        InputError: when a file has changed since the data set was opened.
    """
    source = sources[index]
    if isinstance(source, FileState):
        if not source.unchanged():
            raise InputError(f"{source.path} has changed or been removed since the data set was opened. Try again.")
        source = source.path
    return source, str(source) if isinstance(source, Path) else f"Image {index} of {where}"


class EncodedSplit(Split):
    """Image files, decoded by `read_picture` on access; only their bytes or paths are held.

    Args:
        sources: files, which must not change after opening; or paths; or anything indexable that returns a file's
            bytes.
        labels: (N,) integers.
        digests: (N,) bytes, of the files.
        channels: 1 to read images as grey, 3 as colour.
        where: the name of the sources in messages.
    """

    def __init__(self, sources: Sources, labels: np.ndarray, digests: np.ndarray, channels: int, where: str) -> None:
        self.sources = sources
        self.labels = np.asarray(labels, dtype=np.int64)
        self.identity = digests
        self.channels = channels
        self.where = where

    def image(self, index: int) -> np.ndarray:
        source, name = _named(self.sources, index, self.where)
        try:
            picture = read_picture(source, name)
        except InputError as error:
            raise InputError(f"{error} Repair or remove it, or leave broken files out with --skip-broken.") from error
        pixels = to_channels(picture.pixels, self.channels)
        return pixels[..., 0] if self.channels == 1 else pixels

    def header(self, index: int) -> Header:
        return read_header(*_named(self.sources, index, self.where))

    def file_name(self, index: int) -> str | None:
        # other sources give the content of a file, which is not read for this
        source = self.sources[index] if isinstance(self.sources, list | tuple | Files) else None
        return source.name if isinstance(source, FileState | Path) else None


class Subset(Split):
    """Some images of another split.

    Args:
        whole: the other split.
        indices: (N,) positions in it.
    """

    def __init__(self, whole: Split, indices: np.ndarray) -> None:
        self.whole = whole
        self.indices = indices
        self.labels = whole.labels[indices]
        self.identity = whole.identity[indices]
        self.attribute_names = whole.attribute_names
        self.attributes = whole.attributes[indices] if whole.attribute_names else whole.attributes
        self.known = None if whole.known is None else whole.known[indices]

    def image(self, index: int) -> np.ndarray:
        return self.whole.image(int(self.indices[index]))

    def images(self, indices: Sequence[int] | np.ndarray) -> Iterable[np.ndarray]:
        return self.whole.images(self.indices[np.asarray(indices)])

    def header(self, index: int) -> Header:
        return self.whole.header(int(self.indices[index]))

    def file_name(self, index: int) -> str | None:
        return self.whole.file_name(int(self.indices[index]))

    def title(self, index: int) -> str:
        return self.whole.title(int(self.indices[index]))


@dataclass(frozen=True)
class LeftOut:
    """Files of a data set that are not used.

    Attributes:
        reason: the kind of thing, in words that can follow a number.
        count: how many.
        names: the first few.
    """

    reason: str
    count: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A data set.

    Attributes:
        name: its registered name, or its path.
        splits: "train" and "test", and "validation" where there is one beside the test split.
        class_names: C names, in the order of the labels 0…C−1.
        channels: 1 for greyscale, 3 for colour.
        image_size: side in pixels of the network's square input.
        augmentation: the default augmentation of training: "none" or "flip-crop" (paper A.1).
        fingerprint: identifies the content; the same for the same files in another place.
        notes: what a person should know about it (for example, a held-out test split).
        class_column: the column of its table used as the class; "" for the data set's own class.
        test_from: the origin of the test split: the "test" split, the "validation" split, or "held out" from the
            training images.
        left_out: files that are in no split, by reason; also reported in a note.
        watched: the locations of its files; `content.signature` detects changes cheaply.
        read_as: how its files were read, as a sentence; "" for a registered data set.
    """

    name: str
    splits: Mapping[str, Split]
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    augmentation: str
    fingerprint: str
    notes: tuple[str, ...] = field(default=())
    class_column: str = ""
    test_from: str = "test"
    left_out: tuple[LeftOut, ...] = ()
    watched: tuple[Watch, ...] = ()
    read_as: str = ""

    def split(self, name: str) -> Split:
        """The split `name`.

        Raises:
            InputError: when there is none; the message names the existing splits.
        """
        if name not in self.splits:
            raise InputError(f"Data set '{self.name}' has no split '{name}', only: {', '.join(self.splits)}.")
        return self.splits[name]

    @property
    def preprocessing(self) -> Preprocessing:
        """That of networks which are trained here, before mean and deviation are known."""
        return Preprocessing.plain(self.image_size, self.channels)

    def pixels(
        self, split: str, indices: Sequence[int] | np.ndarray, preprocessing: Preprocessing | None = None
    ) -> torch.Tensor:
        """(n, channels, height, width) uint8 of the images at `indices`; by the data set's own preprocessing when
        None."""
        return to_pixels(self.split(split).images(indices), preprocessing or self.preprocessing)

    def batches(
        self,
        split: str,
        batch_size: int,
        order: np.ndarray | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
        """`pixels` and labels (n,) int64, in `order` (all in sequence when None).

        The next batches are decoded while the current one is used.
        """
        import torch

        labels = torch.from_numpy(self.split(split).labels)
        order = np.arange(len(labels)) if order is None else np.asarray(order)
        parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

        def batch(part: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            return self.pixels(split, part, preprocessing), labels[torch.from_numpy(part)]

        threads = min(MOST_DECODERS, max(2, cores.count()))
        with cores.workers(threads) as pool:
            yield from cores.in_order(pool, batch, parts, threads)

    def statistics(self, progress: Progress = silent) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel of the training split's pixels (0…1) at the network's size.

        One pass; memory bounded by a batch. A constant channel gets the deviation 1.
        """
        occurring = np.zeros((self.channels, 256), dtype=np.int64)
        done, images = 0, len(self.split("train"))
        for pixels, _ in self.batches("train", STATISTICS_BATCH):
            for channel, values in enumerate(pixels.numpy().transpose(1, 0, 2, 3)):
                occurring[channel] += np.bincount(values.ravel(), minlength=256)
            done += len(pixels)
            progress(Event("Measuring mean and deviation", done, images))
        levels, count = np.arange(256) / 255, occurring.sum(1)
        mean = occurring @ levels / count
        std = np.sqrt(np.maximum(occurring @ levels**2 / count - mean**2, 0))
        std[std < 1e-6] = 1.0
        return tuple(float(m) for m in mean), tuple(float(s) for s in std)


def fingerprint(identity: Iterable[bytes | memoryview], *more: Any) -> str:
    """A name for contents, from `identity` (such as names and digests of files) and `more`; the same everywhere.

    It begins with `CONTENT`. Fingerprints of older versions, made from dates and paths, do not and cannot be compared.
    """
    return CONTENT + stable_key([digest_of(identity).hex(), list(more)])


def array_fingerprint(splits: Mapping[str, Split], *more: Any) -> str:
    """A name for images in memory, from their pixels and labels."""
    parts: list[bytes | memoryview] = []
    for name, split in splits.items():
        assert isinstance(split, ArraySplit)
        parts += [name.encode(), str(split.pixels.shape).encode()]
        parts += [np.ascontiguousarray(split.pixels).reshape(-1).data, split.labels.tobytes()]
    return fingerprint(parts, *more)


def comparable(first: str, second: str) -> bool:
    """Whether two fingerprints can be compared to tell if two data sets have the same content."""
    return first.startswith(CONTENT) and second.startswith(CONTENT)


def usual_size(shapes: set[tuple[int, int]]) -> int:
    """The network's input size for images of these shapes: the next multiple of 32 for one small shape, else 224."""
    largest = max(max(shape) for shape in shapes)
    return min(224, -(-largest // 32) * 32) if len(shapes) == 1 else 224
