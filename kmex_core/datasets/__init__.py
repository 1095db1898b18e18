"""Labelled image data sets, by registered name or by path."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kmex_core.datasets import _cub
from kmex_core.datasets._base import ArraySplit, EncodedSplit, ImageDataset, Split, Subset
from kmex_core.datasets._cub import load_cub
from kmex_core.datasets._digits import load_digits
from kmex_core.datasets._faces import load_faces
from kmex_core.datasets._folder import load_folder
from kmex_core.datasets._official import OFFICIAL, is_there, load_official
from kmex_core.datasets._parquet import load_parquet, parquet_files
from kmex_core.errors import InputError, unknown_name
from kmex_core.specs import DatasetSpec
from kmex_core.store import default_root

__all__ = [
    "REGISTRY",
    "ArraySplit",
    "EncodedSplit",
    "Entry",
    "ImageDataset",
    "Split",
    "Subset",
    "available",
    "data_root",
    "load",
    "title",
]


@dataclass(frozen=True)
class Entry:
    """A registered data set: how to load it, and what to say about it."""

    load: Callable[[DatasetSpec], ImageDataset]
    title: str
    about: str


REGISTRY: dict[str, Entry] = {
    "digits": Entry(load_digits, "Digits", "1,797 handwritten digits, 8×8 grey; comes with the product"),
    "faces": Entry(load_faces, "Faces", "8,000 cartoon faces with 30 attributes, 64×64 colour; drawn by the product"),
    "mnist": Entry(load_official, "MNIST", "70,000 handwritten digits, 28×28 grey"),
    "fashion-mnist": Entry(load_official, "Fashion-MNIST", "70,000 pieces of clothing, 28×28 grey"),
    "svhn": Entry(load_official, "SVHN", "99,289 house numbers, 32×32 colour"),
    "cifar10": Entry(load_official, "CIFAR-10", "60,000 animals and vehicles, 32×32 colour"),
    "stl10": Entry(load_official, "STL-10", "13,000 animals and vehicles, 96×96 colour"),
    "cub200": Entry(load_cub, "CUB-200", "11,788 birds of 200 species, 224×224 colour; to be downloaded by hand"),
}


def data_root(chosen: str = "") -> Path:
    """Where data sets lie: `chosen`, else `KMEX_DATA`, else `data/` in the store."""
    root = chosen or os.environ.get("KMEX_DATA", "")
    return Path(root).expanduser().resolve() if root else default_root() / "data"


def available(name: str, root: str = "") -> bool:
    """Whether a registered data set can be loaded without downloading anything."""
    if name == "cub200":
        return _cub.is_there(data_root(root))
    return name not in OFFICIAL or is_there(OFFICIAL[name], data_root(root))


def title(name: str) -> str:
    """What to call a data set: a registered one's title, else the folder's name."""
    return REGISTRY[name].title if name in REGISTRY else Path(name).name


def load(spec: DatasetSpec) -> ImageDataset:
    """A data set by registered name, or by the path of a folder with parquet files or with `train/<class>/*`.

    A path may also lie under the data root, so that a model finds data that has moved. Its images are read later;
    loading checks names and files.

    Raises:
        InputError: for an unknown name (it suggests the nearest), or files that are missing or cannot be used.
    """
    if spec.name in REGISTRY:
        placed = DatasetSpec(spec.name, str(data_root(spec.root)), spec.image_size)
        return REGISTRY[spec.name].load(placed)
    root, path = data_root(spec.root), Path(spec.name).expanduser()
    for folder in (path, root / spec.name, root / path.name):
        if folder.is_file():
            folder = folder.parent
        if not folder.is_dir():
            continue
        placed = DatasetSpec(str(folder.resolve()), str(folder.resolve()), spec.image_size)
        if parquet_files(folder):
            return load_parquet(placed)
        if (folder / "train").is_dir():
            return load_folder(placed)
        raise InputError(
            f"{folder} holds no data set that can be read: expected '*train*.parquet' files, or 'train/<class>/*' with "
            "pictures."
        )
    raise unknown_name("data set", spec.name, REGISTRY, "Or give the path of a folder.")
