"""The paper's data sets that torchvision downloads and reads: MNIST, Fashion-MNIST, SVHN, CIFAR-10, STL-10."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.content import Watch
from kmex_core.data.dataset import ArraySplit, ImageDataset, Split, array_fingerprint

CONNECT_SECONDS = 20.0

_DIGITS = tuple("0123456789")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class Official:
    """How torchvision reads one of these data sets.

    Attributes:
        title: its name for people.
        reader: its class in `torchvision.datasets`.
        files: what must lie under the data root.
        arguments: the reader's arguments for "train" and "test".
        class_names, channels, image_size, augmentation: as in `ImageDataset`.
    """

    title: str
    reader: str
    files: tuple[str, ...]
    arguments: tuple[dict[str, Any], dict[str, Any]]
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    augmentation: str


_BY_FLAG: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})
_BY_NAME: tuple[dict[str, Any], dict[str, Any]] = ({"split": "train"}, {"split": "test"})

OFFICIAL: dict[str, Official] = {
    "mnist": Official("MNIST", "MNIST", tuple(f"MNIST/raw/{name}" for name in _IDX), _BY_FLAG, _DIGITS, 1, 32, "none"),
    "fashion-mnist": Official(
        "Fashion-MNIST",
        "FashionMNIST",
        tuple(f"FashionMNIST/raw/{name}" for name in _IDX),
        _BY_FLAG,
        _FASHION,
        1,
        32,
        "none",
    ),
    "svhn": Official("SVHN", "SVHN", ("train_32x32.mat", "test_32x32.mat"), _BY_NAME, _DIGITS, 3, 32, "none"),
    "cifar10": Official(
        "CIFAR-10",
        "CIFAR10",
        (
            *(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
            "cifar-10-batches-py/test_batch",
            "cifar-10-batches-py/batches.meta",
        ),
        _BY_FLAG,
        _CIFAR,
        3,
        32,
        "flip-crop",
    ),
    "stl10": Official(
        "STL-10",
        "STL10",
        tuple(
            f"stl10_binary/{name}"
            for name in (
                "train_X.bin",
                "train_y.bin",
                "test_X.bin",
                "test_y.bin",
                "unlabeled_X.bin",
                "class_names.txt",
                "fold_indices.txt",
            )
        ),
        _BY_NAME,
        _STL,
        3,
        96,
        "flip-crop",
    ),
}


def is_there(official: Official, root: Path) -> bool:
    """Whether all files of a data set lie under `root`."""
    return all((root / name).is_file() for name in official.files)


def load_official(spec: DatasetSpec) -> ImageDataset:
    """One of `OFFICIAL`, downloaded to `spec.root` when its files are not there and the internet is.

    Raises:
        InputError: when the files are missing and cannot be downloaded (it lists them), or are damaged.
    """
    official = OFFICIAL[spec.name]
    root = Path(spec.root)
    if not is_there(official, root):
        _download(official, root)
    train, test = (_read(official, root, arguments) for arguments in official.arguments)
    splits: dict[str, Split] = {"train": train, "test": test}
    return ImageDataset(
        name=spec.name,
        splits=splits,
        class_names=official.class_names,
        channels=official.channels,
        image_size=spec.image_size or official.image_size,
        augmentation=official.augmentation,
        fingerprint=array_fingerprint(splits, spec.name),
        watched=tuple(Watch(root / name) for name in official.files),
    )


def _reader(official: Official) -> Callable[..., Any]:
    import torchvision.datasets

    reader: Callable[..., Any] = getattr(torchvision.datasets, official.reader)
    return reader


def _download(official: Official, root: Path) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints to stdout, which is the command's answer
            for arguments in official.arguments:
                _reader(official)(str(root), **arguments, download=True)
    except (OSError, RuntimeError) as error:
        missing = [str(root / name) for name in official.files if not (root / name).is_file()]
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{official.title} is not under {root} and could not be downloaded ({reason}). Put these files there:\n  "
            + "\n  ".join(missing or official.files)
            + "\nor name the folder that has them with --data-root or KMEX_DATA."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _read(official: Official, root: Path, arguments: dict[str, Any]) -> ArraySplit:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            data = _reader(official)(str(root), **arguments, download=False)
    except Exception as error:  # torchvision raises whatever its parsers raise on damaged files
        raise InputError(
            f"{official.title} under {root} is damaged or incomplete ({error}). Delete its files to download them "
            "again, or copy them anew:\n  " + "\n  ".join(official.files)
        ) from error
    pixels = np.asarray(data.data)
    if pixels.ndim == 4 and pixels.shape[1] == 3:
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    return ArraySplit(pixels, np.asarray(data.targets if hasattr(data, "targets") else data.labels))
