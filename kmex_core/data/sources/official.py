"""The paper's data sets that torchvision can download and read: MNIST, Fashion-MNIST, SVHN, CIFAR-10, STL-10."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.content import Watch
from kmex_core.data.dataset import ArraySplit, ImageDataset, Split, array_fingerprint
from kmex_core.data.source import DataSource

CONNECT_SECONDS = 20.0

_DIGITS = tuple("0123456789")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Official(DataSource):
    """A data set that torchvision can download and read.

    Attributes:
        reader: its class in `torchvision.datasets`.
        files: what must be under the data root.
        arguments: the reader's arguments for "train" and "test".
        class_names, channels, image_size, augmentation: as in `ImageDataset`.
    """

    reader: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    arguments: ClassVar[tuple[dict[str, Any], dict[str, Any]]]
    class_names: ClassVar[tuple[str, ...]]
    channels: ClassVar[int]
    image_size: ClassVar[int]
    augmentation: ClassVar[str]

    def is_there(self, root: Path) -> bool:
        """Whether all of its files are under `root`."""
        return all((root / name).is_file() for name in self.files)

    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """Load the data set; missing files are downloaded to `spec.root`.

        Raises:
            InputError: when the files are missing and cannot be downloaded (the message lists them), or are damaged.
        """
        root = Path(spec.root)
        if not self.is_there(root):
            _download(self, root)
        train, test = (_read(self, root, arguments) for arguments in self.arguments)
        splits: dict[str, Split] = {"train": train, "test": test}
        return ImageDataset(
            name=spec.name,
            splits=splits,
            class_names=self.class_names,
            channels=self.channels,
            image_size=spec.image_size or self.image_size,
            augmentation=self.augmentation,
            fingerprint=array_fingerprint(splits, spec.name),
            watched=tuple(Watch(root / name) for name in self.files),
        )


_BY_FLAG: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})
_BY_NAME: tuple[dict[str, Any], dict[str, Any]] = ({"split": "train"}, {"split": "test"})


class MNIST(Official):
    """MNIST."""

    name, title, place = "mnist", "MNIST", 2
    about = "70,000 handwritten digits, 28×28 grey"
    reader, arguments = "MNIST", _BY_FLAG
    files = tuple(f"MNIST/raw/{name}" for name in _IDX)
    class_names, channels, image_size, augmentation = _DIGITS, 1, 32, "none"


class FashionMNIST(Official):
    """Fashion-MNIST."""

    name, title, place = "fashion-mnist", "Fashion-MNIST", 3
    about = "70,000 pieces of clothing, 28×28 grey"
    reader, arguments = "FashionMNIST", _BY_FLAG
    files = tuple(f"FashionMNIST/raw/{name}" for name in _IDX)
    class_names, channels, image_size, augmentation = _FASHION, 1, 32, "none"


class SVHN(Official):
    """SVHN."""

    name, title, place = "svhn", "SVHN", 4
    about = "99,289 house numbers, 32×32 colour"
    reader, arguments = "SVHN", _BY_NAME
    files = ("train_32x32.mat", "test_32x32.mat")
    class_names, channels, image_size, augmentation = _DIGITS, 3, 32, "none"


class CIFAR10(Official):
    """CIFAR-10."""

    name, title, place = "cifar10", "CIFAR-10", 5
    about = "60,000 animals and vehicles, 32×32 colour"
    reader, arguments = "CIFAR10", _BY_FLAG
    files = (
        *(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
        "cifar-10-batches-py/test_batch",
        "cifar-10-batches-py/batches.meta",
    )
    class_names, channels, image_size, augmentation = _CIFAR, 3, 32, "flip-crop"


class STL10(Official):
    """STL-10."""

    name, title, place = "stl10", "STL-10", 6
    about = "13,000 animals and vehicles, 96×96 colour"
    reader, arguments = "STL10", _BY_NAME
    files = tuple(
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
    )
    class_names, channels, image_size, augmentation = _STL, 3, 96, "flip-crop"


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
            f"{official.title} is not under {root} and could not be downloaded ({reason}). Copy these files there:\n  "
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
            "again, or copy them again:\n  " + "\n  ".join(official.files)
        ) from error
    pixels = np.asarray(data.data)
    if pixels.ndim == 4 and pixels.shape[1] == 3:
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    return ArraySplit(pixels, np.asarray(data.targets if hasattr(data, "targets") else data.labels))
