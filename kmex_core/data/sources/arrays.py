"""Data sets in `.npz` files: arrays of pixels and labels, as MedMNIST, Keras and people write them."""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.content import Watch, as_array, digest_of
from kmex_core.data.dataset import ArraySplit, ImageDataset, Split, fingerprint, usual_size
from kmex_core.data.files import file_digests
from kmex_core.data.held_out import with_test_split
from kmex_core.data.splits import SPLITS, Layout, word_of

IMAGES = ("images", "image", "imgs", "img", "x", "data", "pixels")
LABELS = ("labels", "label", "y", "targets", "target", "classes", "class")
NAMES = ("class_names", "label_names", "classes_names", "target_names")
MOST_MEMBERS = 1000
SHARE = 0.5  # of the machine's memory that the arrays may take
CHUNK = 1 << 24
_DAMAGE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
           struct.error, SyntaxError)  # fmt: skip


@dataclass(frozen=True)
class _Header:
    """An array of the file, before it is read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def load_arrays(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """A `.npz` file with an array of images and one of labels for each split, by the words in their names.

    `train_images` and `train_labels` (MedMNIST), `x_train` and `y_train` (Keras), or one pair without a split. Images
    are (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W): integers 0…255 or floats 0…1. Labels are (N,) or (N, 1)
    integers, texts or truth values, or (N, C) with a single 1 in each row. Sizes are taken from the headers before any
    array is read; objects, which are pickled, are refused.

    Args:
        spec: `root` is the file's folder.
        layout: "arrays"; its only place is the file.
        progress: called as arrays are read.

    Raises:
        InputError: for a file that is not `.npz` or is damaged, that takes more than `SHARE` of the memory, or whose
            arrays are something else.
    """
    path = layout.places["train"][0]
    try:
        with zipfile.ZipFile(path) as archive:
            headers = _headers(archive, path)
            pairs = _pairs(list(headers), path, spec)
            _check_sizes([headers[name] for pair in pairs.values() for name in pair], path)
            names = next((_array(archive, headers[name], path) for name in NAMES if name in headers), None)
            read = {}
            for done, (split, (images, classes)) in enumerate(pairs.items()):
                progress(Event("Reading arrays", done, len(pairs)))
                read[split] = (
                    pixels_of(_array(archive, headers[images], path), f"'{images}' of {path}"),
                    _array(archive, headers[classes], path),
                )
            progress(Event("Reading arrays", len(pairs), len(pairs)))
    except _DAMAGE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as an .npz file ({error}).") from error
    where = {split: f"'{classes}' of {path}" for split, (_, classes) in pairs.items()}
    labels, class_names = labels_of({split: values for split, (_, values) in read.items()}, where, names)
    splits: dict[str, Split] = {}
    for split, (pixels, _) in read.items():
        if len(pixels) != len(labels[split]):
            raise InputError(f"{where[split]} has {len(labels[split]):,} labels for {len(pixels):,} images.")
        splits[split] = ArraySplit(pixels, labels[split])
        splits[split].identity = as_array(b"".join(digest_of([image.tobytes()]) for image in pixels))
    grey = {pixels.ndim == 3 for pixels, _ in read.values()}
    if len(grey) > 1:
        raise InputError(f"{path} has grey images in one split and coloured ones in another. Save all of them alike.")
    channels = 1 if grey == {True} else 3
    divided = with_test_split(splits, class_names)
    height, width = read["train"][0].shape[1:3]
    return ImageDataset(
        name=spec.name,
        splits=divided.splits,
        class_names=tuple(class_names),
        channels=channels,
        image_size=spec.image_size or usual_size({(height, width)}),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint(
            file_digests([(path, path.name)], progress), "arrays", sorted(pairs.items()), *divided.marks
        ),
        notes=(*divided.notes, *layout.notes, *_unused(headers, pairs)),
        class_column=spec.class_column,
        test_from=divided.test_from,
        watched=(Watch(path), *(Watch(place, deep=False) for place in layout.seen)),
    )


def _headers(archive: zipfile.ZipFile, path: Path) -> dict[str, _Header]:
    """The arrays' shapes and types by name."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{path} has {len(members):,} members, over {MOST_MEMBERS:,}; expected a few arrays.")
    headers = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            continue
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{path}: '{name}' is compressed by another method than NumPy's. Save it with NumPy again."
            )
        with archive.open(member) as file:
            shape, dtype, length = _header(file)
        if name in headers:
            raise InputError(f"{path} has two arrays named '{name}'.")
        if dtype.hasobject:
            continue  # pickled: never read; where it is needed, `_pairs` does not find it
        headers[name] = _Header(name, shape, dtype)
        if member.file_size != length + headers[name].bytes:
            raise InputError(f"{path} is damaged: '{name}' has another size than its header says.")
    return headers


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, int]:
    """The shape, the type and the length of the header of a `.npy` file."""
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format is not supported")
    shape, order, dtype = read(file)
    if order and len(shape) > 1:
        raise ValueError("the array is in Fortran order; save it with np.ascontiguousarray")
    return shape, dtype, file.tell()


def _pairs(names: list[str], path: Path, spec: DatasetSpec) -> dict[str, tuple[str, str]]:
    """The names of the arrays of images and labels, by split."""
    roles: dict[tuple[str, str], list[str]] = {}
    for name in names:
        words = [word.lower() for word in re.findall(r"[^\W_]+", name)]
        rest = [word for word in words if not word_of(word)]
        split = word_of(name)
        for role, known, given in (("images", IMAGES, spec.image_column), ("labels", LABELS, spec.class_column)):
            if (given and _is_given(name, given)) or (not given and len(rest) == 1 and rest[0] in known):
                roles.setdefault((split, role), []).append(name)
    several = next((of for of in roles.values() if len(of) > 1), None)
    if several:
        raise InputError(
            f"{path} has several arrays that may be meant: {first_few(several)}. Name them: --image-column, "
            "--label-column."
        )
    found = {
        split: (roles[split, "images"][0], roles[split, "labels"][0])
        for split in ("", *SPLITS)
        if (split, "images") in roles and (split, "labels") in roles
    }
    if "train" in found:
        found.pop("", None)
    elif "" in found:
        found = {"train": found.pop("")} | found
    if "train" not in found:
        raise InputError(
            f"{path} has no arrays of training images and labels: expected train_images and train_labels, x_train and "
            f"y_train, or images and labels (not objects, which are pickled); found: "
            f"{first_few(names, 12) or 'nothing'}."
        )
    return {split: found[split] for split in SPLITS if split in found}


def _is_given(name: str, given: str) -> bool:
    """Whether an array is the named one, or the one of another split with the same other words."""

    def others(text: str) -> list[str]:
        return [word for word in re.findall(r"[^\W_]+", text.lower()) if not word_of(word)]

    return name == given or others(name) == others(given)


def _check_sizes(headers: list[_Header], path: Path) -> None:
    total = sum(header.bytes for header in headers)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        memory = 8 << 30  # unknown on this system
    if total > SHARE * memory:
        raise InputError(
            f"The arrays of {path} take {total / 2**30:,.1f} GB, over half of this machine's memory "
            f"({memory / 2**30:,.1f} GB). Save the images as files in class folders."
        )


def _array(archive: zipfile.ZipFile, header: _Header, path: Path) -> np.ndarray:
    """An array whose size has been checked, read in pieces; its data must be as long as the header says."""
    array = np.empty(header.bytes, dtype=np.uint8)
    with archive.open(f"{header.name}.npy") as file:
        _header(file)
        done = 0
        while done < len(array):
            piece = file.read(min(CHUNK, len(array) - done))
            if not piece:
                raise InputError(f"{path} is damaged: '{header.name}' ends early.")
            array[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
            done += len(piece)
        if file.read(1):  # which also checks the archive's checksum
            raise InputError(f"{path} is damaged: '{header.name}' is longer than its header says.")
    return array.view(header.dtype).reshape(header.shape) if len(array) else np.empty(header.shape, header.dtype)


def pixels_of(array: np.ndarray, where: str) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3) uint8."""
    if array.ndim == 4 and array.shape[-1] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] != 3) or 0 in array.shape:
        raise InputError(
            f"{where} has the shape {array.shape}; expected images: (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W)."
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{where} has values of type {array.dtype}; expected numbers.")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{where} has values that are no finite numbers.")
    if array.dtype.kind in "fb" and low >= 0 and high <= 1:
        return np.concatenate(
            [np.round(part * 255.0).astype(np.uint8) for part in np.array_split(array, 64) if len(part)]
        )
    if low < 0 or high > 255:
        raise InputError(f"{where} has values from {low:g} to {high:g}; expected 0 to 255, or floats from 0 to 1.")
    return np.round(array).astype(np.uint8)


def labels_of(
    values: dict[str, np.ndarray], where: dict[str, str], given: np.ndarray | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Each split's labels, and the class names."""
    flat = {split: _flat(array, where[split]) for split, array in values.items()}
    different = sorted({value for array in flat.values() for value in np.unique(array).tolist()})
    names = [str(value) for value in different]
    if given is not None and given.ndim == 1 and given.dtype.kind in "US":
        texts = [str(name) for name in given.astype(str)]
        if all(isinstance(value, int) and 0 <= value < len(texts) for value in different):
            different, names = list(range(len(texts))), texts
    place = {value: label for label, value in enumerate(different)}
    return {
        split: np.array([place[value] for value in array.tolist()], np.int64) for split, array in flat.items()
    }, names


def _flat(array: np.ndarray, where: str) -> np.ndarray:
    """(N,) integers or texts."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "iufb":
        if not (np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()):
            raise InputError(
                f"{where} has {array.shape[1]} values for each image, not one class: expected (N,), (N, 1), or a "
                "single 1 in each row. Every image must have exactly one class."
            )
        return array.argmax(1)
    if array.ndim != 1:
        raise InputError(f"{where} has the shape {array.shape}; expected a label for each image: (N,) or (N, 1).")
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.round(array)).any():
            raise InputError(f"{where} has values that are not whole numbers. Regression is not supported.")
        return array.astype(np.int64)
    if array.dtype.kind not in "iubU":
        raise InputError(f"{where} has values of type {array.dtype}; expected integers or texts.")
    return array.astype(np.int64) if array.dtype.kind == "b" else array


def _unused(headers: dict[str, _Header], pairs: dict[str, tuple[str, str]]) -> tuple[str, ...]:
    rest = sorted(set(headers) - {name for pair in pairs.values() for name in pair} - set(NAMES))
    return (f"Not used, because they are no images or labels of a split: {first_few(rest)}.",) if rest else ()
