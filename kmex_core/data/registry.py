"""Labelled image data sets, by registered name or by path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.base.location import default_root
from kmex_core.base.paths import user_path
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import READ_ONLY, read_only
from kmex_core.data.content import reading_again, signature
from kmex_core.data.dataset import ArraySplit, EncodedSplit, ImageDataset, LeftOut, Split, Subset, comparable, some
from kmex_core.data.judge import judged
from kmex_core.data.sources import celeba as _celeba
from kmex_core.data.sources import cub as _cub
from kmex_core.data.sources import quickdraw as _quickdraw
from kmex_core.data.sources.celeba import load_celeba
from kmex_core.data.sources.cub import load_cub
from kmex_core.data.sources.digits import load_digits
from kmex_core.data.sources.faces import load_faces
from kmex_core.data.sources.folder import load_folder
from kmex_core.data.sources.official import OFFICIAL, is_there, load_official
from kmex_core.data.sources.parquet import load_parquet
from kmex_core.data.sources.quickdraw import load_quickdraw
from kmex_core.data.splits import layout_of

__all__ = [
    "REGISTRY",
    "ArraySplit",
    "EncodedSplit",
    "Entry",
    "ImageDataset",
    "LeftOut",
    "Split",
    "Subset",
    "available",
    "comparable",
    "data_root",
    "load",
    "places",
    "registered",
    "signature",
    "title",
    "verified",
]


@dataclass(frozen=True)
class Entry:
    """A registered data set: how to load it, what to say about it, and whether its files lie under a data root."""

    load: Callable[[DatasetSpec, Progress], ImageDataset]
    title: str
    about: str
    is_there: Callable[[Path], bool] = lambda root: True


def _quick(load: Callable[[DatasetSpec], ImageDataset]) -> Callable[[DatasetSpec, Progress], ImageDataset]:
    """A loader that takes no time worth reporting."""
    return lambda spec, _progress: load(spec)


def _official(name: str, about: str) -> Entry:
    return Entry(_quick(load_official), OFFICIAL[name].title, about, lambda root: is_there(OFFICIAL[name], root))


REGISTRY: dict[str, Entry] = {
    "digits": Entry(_quick(load_digits), "Digits", "1,797 handwritten digits, 8×8 grey; comes with the product"),
    "faces": Entry(_quick(load_faces), "Faces", "8,000 cartoon faces with 30 attributes, 64×64 colour; drawn here"),
    "mnist": _official("mnist", "70,000 handwritten digits, 28×28 grey"),
    "fashion-mnist": _official("fashion-mnist", "70,000 pieces of clothing, 28×28 grey"),
    "svhn": _official("svhn", "99,289 house numbers, 32×32 colour"),
    "cifar10": _official("cifar10", "60,000 animals and vehicles, 32×32 colour"),
    "stl10": _official("stl10", "13,000 animals and vehicles, 96×96 colour"),
    "quickdraw10": Entry(
        _quick(load_quickdraw), "QuickDraw-10", "10,000 drawings of ten things, 28×28 grey; to be downloaded by hand",
        _quickdraw.is_there,
    ),
    "celeba": Entry(
        load_celeba, "CelebA", "182,732 faces with 40 attributes, 224×224 colour; to be downloaded by hand",
        _celeba.is_there,
    ),
    "cub200": Entry(
        load_cub, "CUB-200", "11,788 birds of 200 species, 224×224 colour; to be downloaded by hand", _cub.is_there
    ),
}  # fmt: skip


def data_root(chosen: str = "") -> Path:
    """Where data sets lie: `chosen`, else `KMEX_DATA`, else `data/` in the store."""
    root = chosen or os.environ.get("KMEX_DATA", "")
    return user_path(root).resolve() if root else default_root() / "data"


def registered(name: str) -> str:
    """The registered name that is meant by a name or a title in any spelling ("MNIST", "cifar-10"), "" for none."""

    def plain(text: str) -> str:
        return re.sub(r"[\s_-]", "", text).casefold()

    spellings = {plain(text): known for known, entry in REGISTRY.items() for text in (known, entry.title)}
    return spellings.get(plain(name), "")


def available(name: str, root: str = "") -> bool:
    """Whether a registered data set can be loaded without downloading anything."""
    known = registered(name)
    return not known or REGISTRY[known].is_there(data_root(root))


def title(name: str) -> str:
    """What to call a data set: a registered one's title, else the folder's name."""
    known = registered(name)
    return REGISTRY[known].title if known else Path(name).name


def places(name: str, root: str = "") -> tuple[Path, ...]:
    """The folders that a path may mean, the first that exists: itself, or one of its name under the data root.

    The path of a file means the folder that it lies in.

    Raises:
        InputError: for what cannot be a path.
    """
    path, data = user_path(name), data_root(root)
    named = (path, data / name, data / path.name)
    return tuple(place.parent if place.is_file() else place for place in named)


def load(spec: DatasetSpec, progress: Progress = silent) -> ImageDataset:
    """A data set by registered name or title, or by the path of a folder with parquet files or `train/<class>/*`,
    in it or in its `data/`.

    A folder named like a registered one needs a path ("./MNIST"). A path may also be under the data root, so a model
    finds data that has moved. Each file is read once for its content, which is remembered; classes, labels and counts
    are checked (`_judge`). With `spec.class_column` a column of its table is the class.

    Args:
        spec: which data set.
        progress: called while files are read for the first time.

    Raises:
        InputError: for an unknown name or column (it suggests the nearest), or files that are missing or cannot be
            used.
    """
    made = _load(spec, progress)
    if spec.class_column and made.class_column != spec.class_column and spec.class_column != "label":
        raise InputError(
            f"Data set '{spec.name}' has no table of attributes, so that '{spec.class_column}' cannot be the class."
        )
    return judged(made)


def verified(spec: DatasetSpec, progress: Progress = silent) -> tuple[ImageDataset, list[str]]:
    """A data set of which every file was read again, and the files whose content was not what was remembered of them.

    Raises:
        InputError: see `load`.
    """
    with reading_again() as changed:
        data = load(spec, progress)
    return data, sorted(changed)


def _load(spec: DatasetSpec, progress: Progress) -> ImageDataset:
    if known := registered(spec.name):
        placed = replace(spec, name=known, root=str(data_root(spec.root)))
        if read_only() and not available(known, spec.root):
            raise InputError(
                f"The files of {title(known)} are not in {placed.root}, and a read-only server or command "
                f"({READ_ONLY} is set) downloads nothing."
            )
        return REGISTRY[known].load(placed, progress)
    for folder in places(spec.name, spec.root):
        if not folder.is_dir():
            continue
        whole = folder.resolve()  # one way to name each file, whatever links lead there
        layout = layout_of(whole)
        placed = replace(spec, name=str(whole), root=str(layout.home))
        if layout.kind:
            return (load_parquet if layout.kind == "parquet" else load_folder)(placed, layout, progress)
        unused = f" These names say no split: {some(layout.others)}." if layout.others else ""
        raise InputError(
            f"{folder} holds no data set that can be read: expected parquet files with the word 'train' in their "
            "names, "
            f"or 'train/<class>/*' with pictures.{unused}"
        )
    raise unknown_name("data set", spec.name, REGISTRY, "Or give the path of a folder.")
