"""Labelled image data sets, by registered name or by path."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.base.location import default_root
from kmex_core.base.paths import user_path
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.registry import Registry, subclasses
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import READ_ONLY, read_only
from kmex_core.data import sources
from kmex_core.data.content import reading_again, signature
from kmex_core.data.dataset import ArraySplit, EncodedSplit, ImageDataset, LeftOut, Split, Subset, comparable
from kmex_core.data.judge import judged
from kmex_core.data.source import DataSource
from kmex_core.data.sources.folder import load_folder
from kmex_core.data.sources.parquet import load_parquet
from kmex_core.data.splits import layout_of

__all__ = [
    "DATASETS",
    "ArraySplit",
    "EncodedSplit",
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


_KINDS = subclasses(sources.__name__, DataSource)  # type: ignore[type-abstract]  # those that are found are concrete
DATASETS: Registry[DataSource] = Registry(
    "data set", ((source.name, source) for source in sorted((kind() for kind in _KINDS), key=lambda kind: kind.place))
)


def data_root(chosen: str = "") -> Path:
    """The folder of data sets: `chosen`, else `KMEX_DATA`, else `data/` in the store."""
    root = chosen or os.environ.get("KMEX_DATA", "")
    return user_path(root).resolve() if root else default_root() / "data"


def registered(name: str) -> str:
    """The registered name for a name or title in any spelling ("MNIST", "cifar-10"); "" if there is none."""

    def plain(text: str) -> str:
        return re.sub(r"[\s_-]", "", text).casefold()

    spellings = {plain(text): known for known, entry in DATASETS.items() for text in (known, entry.title)}
    return spellings.get(plain(name), "")


def available(name: str, root: str = "") -> bool:
    """Whether a registered data set can be loaded without downloading anything."""
    known = registered(name)
    return not known or DATASETS[known].is_there(data_root(root))


def title(name: str) -> str:
    """A data set's title: a registered one's title, else the folder's name."""
    known = registered(name)
    return DATASETS[known].title if known else Path(name).name


def places(name: str, root: str = "") -> tuple[Path, ...]:
    """The folders that a path may mean, in order of preference: itself, or one of its name under the data root.

    The path of a file means its folder.

    Raises:
        InputError: for an invalid path.
    """
    path, data = user_path(name), data_root(root)
    named = (path, data / name, data / path.name)
    return tuple(place.parent if place.is_file() else place for place in named)


def load(spec: DatasetSpec, progress: Progress = silent) -> ImageDataset:
    """A data set by registered name or title, or by the path of a folder with parquet files or `train/<class>/*`,
    in it or in its `data/`.

    A folder named like a registered data set needs a path ("./MNIST"). A path may also be under the data root, so a
    model finds data that has moved. Each file is read once for its digest, which is cached; classes, labels and counts
    are checked (`judge`). `spec.class_column` makes a column of its table the class.

    Args:
        spec: which data set.
        progress: called while files are read for the first time.

    Raises:
        InputError: for an unknown name or column (the message suggests the nearest), or files that are missing or
            cannot be used.
    """
    data = _load(spec, progress)
    if spec.class_column and data.class_column != spec.class_column and spec.class_column != "label":
        raise InputError(
            f"Data set '{spec.name}' has no table of attributes, so '{spec.class_column}' cannot be used as the class."
        )
    return judged(data)


def verified(spec: DatasetSpec, progress: Progress = silent) -> tuple[ImageDataset, list[str]]:
    """A data set with every file read again, and the files whose content does not match the cache.

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
        return DATASETS[known].load(placed, progress)
    for folder in places(spec.name, spec.root):
        if not folder.is_dir():
            continue
        whole = folder.resolve()  # one name for each file, whatever links lead to it
        layout = layout_of(whole)
        placed = replace(spec, name=str(whole), root=str(layout.home))
        if layout.kind:
            return (load_parquet if layout.kind == "parquet" else load_folder)(placed, layout, progress)
        unused = f" These names match no split: {first_few(layout.others)}." if layout.others else ""
        raise InputError(
            f"{folder} contains no readable data set: expected parquet files with the word 'train' in their "
            "names, "
            f"or 'train/<class>/*' with pictures.{unused}"
        )
    raise unknown_name("data set", spec.name, DATASETS, "Or pass the path of a folder.")
