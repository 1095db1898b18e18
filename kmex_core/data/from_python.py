"""Pictures that Python has in memory or by objects of its libraries, as a data set: arrays, PIL images, `datasets`."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.data.columns import class_by_name
from kmex_core.data.content import as_array, digest_of
from kmex_core.data.dataset import ArraySplit, EncodedSplit, ImageDataset, Split, fingerprint, survey, usual_size
from kmex_core.data.held_out import with_test_split
from kmex_core.data.judge import judged
from kmex_core.data.network_input import to_channels
from kmex_core.data.pictures import read_picture
from kmex_core.data.sources.arrays import IMAGES, LABELS, labels_of, pixels_of
from kmex_core.data.splits import SPLITS, word_of

NAME = "images from Python"


class ItemSplit(Split):
    """Pictures that an object gives by index as (picture, label, …), each when it is needed.

    Args:
        items: anything with `len` and `[i]`.
        labels: (N,) integers.
        digests: (N,) of the pictures.
        channels: 1 for grey, 3 for colour.
    """

    def __init__(self, items: Any, labels: np.ndarray, digests: np.ndarray, channels: int) -> None:
        self.items, self.identity, self.channels = items, digests, channels
        self.labels = np.asarray(labels, dtype=np.int64)

    def image(self, index: int) -> np.ndarray:
        fields = _fields(self.items[index])
        assert fields is not None  # as when it was read first
        pixels = to_channels(picture_of(fields[0], f"Image {index}"), self.channels)
        return pixels[..., 0] if self.channels == 1 else pixels


class _Encoded(Sequence[bytes]):
    """The encoded images of a `datasets.Dataset` whose column of images is not decoded."""

    def __init__(self, rows: Any, column: str) -> None:
        self._rows, self._column = rows, column

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        value = self._rows[int(index)][self._column]
        if value is None:
            raise InputError(f"Row {index} of the data set has no image.")
        return value["bytes"] if value["bytes"] is not None else Path(value["path"])


def is_pictures(images: Any) -> bool:
    """Whether images are decoded or encoded pictures, not batches of a network's input."""
    if _is_datasets(images):
        return True
    if isinstance(images, Mapping):
        return bool(images) and all(is_pictures(value) for value in images.values())
    if _is_pair(images):
        return True
    first = _first_item(images)
    return first is not None and _is_picture(first[0])


def pictures(
    images: Any, test: Any = None, class_names: Sequence[str] | None = None, progress: Progress = silent
) -> ImageDataset:
    """A data set of pictures in Python.

    Without a test split a fifth of each class is held out, as of any data set.

    Args:
        images: a `datasets.Dataset` or `DatasetDict`, whose columns are found by their features; a pair of images and
            labels: an array of N images (see `arrays.pixels_of`), or N PIL images; an object that gives (PIL image or
            uint8 array, label) by index, such as torchvision's data sets without a transform; or a dict of those by
            split.
        test: the same for the test split.
        class_names: of the labels 0, 1, …, where `images` do not name them.
        progress: called as pictures are read for the first time.

    Raises:
        InputError: when they are something else, or cannot be used (see `judged`).
    """
    given = by_split(images, test)
    read: dict[str, Split] = {}
    labels: dict[str, np.ndarray] = {}
    names: tuple[str, ...] = tuple(class_names or ())
    shapes: set[tuple[int, int]] = set()
    channels = 1
    for split, part in given.items():
        read[split], labels[split], own, found = _read(part, split, progress)
        names = names or own
        shapes |= found
        channels = max(channels, _channels(read[split]))
    where = {split: f"the {split} labels" for split in given}
    indices, values = labels_of(labels, where, np.array(names) if names else None)
    if names and len(values) != len(names):
        raise InputError(
            f"The labels have {len(values)} different values ({first_few(values)}), but there are {len(names)} class "
            f"names ({first_few(names)}): expected numbers from 0 to {len(names) - 1}."
        )
    for split, of in read.items():
        if len(of) != len(indices[split]):
            raise InputError(f"There are {len(of):,} {split} images and {len(indices[split]):,} labels for them.")
        of.labels = indices[split]
        if isinstance(of, EncodedSplit | ItemSplit):
            of.channels = channels
    if len({_channels(of) for of in read.values()}) > 1:
        raise InputError("The images are grey in one split and coloured in another. Make all of them alike.")
    divided = with_test_split(read, values)
    data = ImageDataset(
        name=NAME,
        splits=divided.splits,
        class_names=tuple(values),
        channels=channels,
        image_size=usual_size(shapes),
        augmentation="none",
        fingerprint=fingerprint(
            [part for of in read.values() for part in (of.identity.tobytes(), of.labels.tobytes())]
        ),
        notes=divided.notes,
        test_from=divided.test_from,
    )
    return judged(data)


def picture_of(value: Any, where: str = "The image") -> np.ndarray:
    """One picture as pixels, (H, W) or (H, W, 3) uint8, as a file with it would be read.

    Args:
        value: a path, the bytes of a file, a PIL image, or a uint8 array (H, W), (H, W, 1 or 3) or (1 or 3, H, W).
        where: its name in messages.

    Raises:
        InputError: for anything else; see `read_picture`.
    """
    if isinstance(value, str | Path):
        return read_picture(Path(value).expanduser()).pixels
    if isinstance(value, bytes | bytearray | memoryview):
        return read_picture(bytes(value), where).pixels
    if isinstance(value, Image.Image):
        return _of_pil(value, where)
    if hasattr(value, "__array__") and np.asarray(value).dtype == np.uint8:
        array = np.asarray(value)
        if array.ndim in (2, 3):
            return pixels_of(array[None], where)[0]
        raise InputError(f"{where} has the shape {array.shape}; expected one picture, (H, W) or (H, W, 3).")
    kind = f"an array of {value.dtype}" if hasattr(value, "dtype") else f"a {type(value).__name__}"
    raise InputError(
        f"{where} is {kind}; expected the path of a picture, its bytes, a PIL image, an array of uint8 (H, W) or "
        "(H, W, 3), or a tensor that is preprocessed as the network's input."
    )


def _of_pil(image: Image.Image, where: str) -> np.ndarray:
    if image.mode in ("L", "RGB") and not image.info.get("icc_profile") and "transparency" not in image.info:
        return np.asarray(image)
    buffer = io.BytesIO()
    try:
        image.save(buffer, "TIFF" if image.mode in ("CMYK", "YCbCr", "LAB", "F") else "PNG")
    except (OSError, ValueError) as error:
        raise InputError(f"{where} is a PIL image of mode {image.mode}, which is not supported ({error}).") from error
    return read_picture(buffer.getvalue(), where).pixels


# ---- what was given -------------------------------------------------------------------------------------------------


def by_split(images: Any, test: Any) -> dict[str, Any]:
    """What was given for each split: of a mapping by its names, in any spelling; else for training. `test` if not None.

    Raises:
        InputError: for names that are no splits or the same one, and without a training split.
    """
    if not isinstance(images, Mapping):
        return {"train": images} | ({} if test is None else {"test": test})
    found: dict[str, Any] = {}
    for name, part in images.items():
        split = word_of(str(name))
        if not split or split in found:
            raise InputError(
                f"Expected splits named {', '.join(SPLITS)}, each once; got {', '.join(map(str, images))}."
            )
        found[split] = part
    if test is not None:
        found["test"] = test
    if "train" not in found:
        raise InputError(f"There is no training split, only: {', '.join(map(str, images))}.")
    return {split: found[split] for split in SPLITS if split in found}


def _is_datasets(images: Any) -> bool:
    return type(images).__module__.split(".")[0] == "datasets" and not isinstance(images, Mapping)


def _is_pair(images: Any) -> bool:
    """Whether these are images and their labels, each as a whole."""
    if not isinstance(images, tuple | list) or len(images) != 2:
        return False
    first = images[0]
    if isinstance(first, list | tuple):
        return bool(first) and _is_picture(first[0])
    return hasattr(first, "shape") and len(first.shape) >= 3 and isinstance(images, tuple)


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image.Image) or (hasattr(value, "dtype") and str(value.dtype).endswith("uint8"))


def _fields(item: Any) -> tuple[Any, Any] | None:
    """The picture and the label of an item, a tuple or a dict; None for anything else."""
    if isinstance(item, Mapping):
        keys = [next((key for key in known if key in item), None) for known in (IMAGES, LABELS)]
        return (item[keys[0]], item[keys[1]]) if None not in keys else None
    return (item[0], item[1]) if isinstance(item, tuple | list) and len(item) >= 2 else None


def _first_item(images: Any) -> tuple[Any, Any] | None:
    """The first picture and label of an object that gives such by index; None for anything else."""
    if isinstance(images, list | tuple) or not (hasattr(images, "__getitem__") and hasattr(images, "__len__")):
        return None
    if not len(images):
        raise InputError("There are no images.")
    try:
        return _fields(images[0])
    except NotImplementedError:  # torch's data sets that can only be iterated
        return None


def _read(part: Any, split: str, progress: Progress) -> tuple[Split, np.ndarray, tuple[str, ...], set[tuple[int, int]]]:
    """The images of a split, their labels, the names of those, and some of the images' shapes."""
    if _is_datasets(part):
        return _read_datasets(part, split, progress)
    if _is_pair(part):
        images, labels = part
        if not isinstance(images, list | tuple):
            pixels = _array_of(images, f"The array of {split} images")
            arrays = ArraySplit(pixels, np.zeros(len(pixels)))
            arrays.identity = as_array(b"".join(digest_of([image.tobytes()]) for image in pixels))
            return arrays, np.asarray(labels), (), {pixels.shape[1:3]}
        part = list(zip(images, labels, strict=False)) if len(images) == len(labels) else None
        if part is None:
            raise InputError(f"There are {len(images):,} {split} images and {len(labels):,} labels for them.")
    elif (first := _first_item(part)) is None or not _is_picture(first[0]):
        raise InputError(
            f"The {split} images are a {type(part).__name__}; expected a datasets.Dataset, a pair of images and "
            "labels, or an object that gives (PIL image, label) by index."
        )
    labels_, digests, shapes, grey = [], [], set(), True
    for number, (image, label) in enumerate(_items(part)):
        pixels = picture_of(image, f"Image {number} of the {split} split")
        labels_.append(label.item() if hasattr(label, "item") else label)
        digests.append(digest_of([pixels.tobytes()]))
        shapes.add((int(pixels.shape[0]), int(pixels.shape[1])))
        grey = grey and pixels.ndim == 2
        progress(Event("Reading images", number + 1, len(part)))
    names = tuple(map(str, getattr(part, "classes", ())))
    split_ = ItemSplit(part, np.zeros(len(labels_)), as_array(b"".join(digests)), 1 if grey else 3)
    return split_, np.asarray(labels_), names, shapes


def _array_of(images: Any, where: str) -> np.ndarray:
    try:
        return pixels_of(np.asarray(images), where)
    except InputError as error:
        if "values from" not in str(error):
            raise
        raise InputError(
            f"{error} If they are preprocessed already, pass a DataLoader of them and of their labels, and say with "
            "preprocess= how."
        ) from error


def _items(part: Any) -> Iterator[tuple[Any, Any]]:
    for index in range(len(part)):
        fields = _fields(part[index])
        if fields is None:
            raise InputError(f"Item {index} is no picture with a label, as the items before it.")
        yield fields


def _read_datasets(
    rows: Any, split: str, progress: Progress
) -> tuple[Split, np.ndarray, tuple[str, ...], set[tuple[int, int]]]:
    library = importlib.import_module("datasets")
    if not hasattr(rows, "cast_column") or not hasattr(rows, "__len__"):
        raise InputError("A streamed data set has no rows to go back to. Load it without streaming=True.")
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    image, label = _one([name for name, kind in kinds.items() if kind == "Image"], "images", kinds), ""
    declared = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    label = _one(declared or class_by_name([name for name in kinds if name != image]), "classes", kinds)
    encoded = _Encoded(rows.cast_column(image, library.Image(decode=False)).with_format(None), image)
    where, digests = f"the {split} split", []
    for number in range(len(encoded)):
        source = encoded[number]
        digests.append(digest_of([source if isinstance(source, bytes) else source.read_bytes()]))
        progress(Event("Reading images", number + 1, len(encoded)))
    shapes, channels, _ = survey(encoded, where)
    names = tuple(map(str, getattr(rows.features[label], "names", None) or ()))
    values = np.asarray(rows.with_format(None)[label][:])
    unlabelled = int((values == -1).sum()) if names else 0
    if unlabelled:
        raise InputError(
            f"{unlabelled:,} images of {where} have no class (−1). Leave them out: "
            f"data.filter(lambda row: row['{label}'] >= 0)."
        )
    encoded_split = EncodedSplit(encoded, np.zeros(len(encoded)), as_array(b"".join(digests)), channels, where)
    return encoded_split, values, names, shapes


def _one(names: Sequence[str], what: str, kinds: Mapping[str, str]) -> str:
    if len(names) == 1:
        return names[0]
    found = f"several columns of {what} ({first_few(names)})" if names else f"no column of {what}"
    columns = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    raise InputError(
        f"The data set has {found}: {columns}. Expected one of the feature Image and one of ClassLabel; "
        "select_columns([…]) and cast_column(…) of datasets make it so."
    )


def _channels(split: Split) -> int:
    if isinstance(split, ArraySplit):
        return 1 if split.pixels.ndim == 3 else 3
    assert isinstance(split, EncodedSplit | ItemSplit)
    return split.channels
