"""Labelled image data sets, by registered name or by path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.base.location import default_root
from kmex_core.base.paths import user_path
from kmex_core.base.progress import Progress, silent
from kmex_core.base.registry import Registry, subclasses
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import READ_ONLY, read_only
from kmex_core.data import sources
from kmex_core.data.archives import is_archive, unpacked
from kmex_core.data.content import reading_again, signature
from kmex_core.data.dataset import ArraySplit, EncodedSplit, ImageDataset, LeftOut, Split, Subset, comparable
from kmex_core.data.hub import PREFIX, folder_of, from_hub, is_hub_name
from kmex_core.data.judge import judged
from kmex_core.data.layouts import find
from kmex_core.data.source import DataSource
from kmex_core.data.sources.arrays import load_arrays
from kmex_core.data.sources.folder import load_folder
from kmex_core.data.sources.parquet import load_arrow, load_parquet
from kmex_core.data.sources.shards import load_shards
from kmex_core.data.sources.sheet import load_sheet
from kmex_core.data.splits import Layout
from kmex_core.data.tar import is_shard

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


# by the kind of layout, see `layouts.find`: the reader, and how it reads
_READERS: dict[str, tuple[Callable[[DatasetSpec, Layout, Progress], ImageDataset], str]] = {
    "arrays": (load_arrays, "Arrays of images and labels in an .npz file."),
    "arrow": (load_arrow, "Arrow files of Hugging Face's save_to_disk: a row for each image."),
    "classes": (load_folder, "A folder of pictures for each class."),
    "folder": (load_folder, "A folder for each split, and in it a folder of pictures for each class."),
    "parquet": (load_parquet, "Parquet files: a row for each image."),
    "shards": (load_shards, "WebDataset's tar files: a picture and its class under one key."),
    "sheet": (load_sheet, "Pictures, and a table that names them and gives their classes."),
}
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
    """Whether a data set can be loaded without downloading anything, as far as it is known by a name."""
    if is_hub_name(name):
        return folder_of(name, data_root(root)).is_dir()
    known = registered(name)
    return not known or DATASETS[known].is_there(data_root(root))


def title(name: str) -> str:
    """A data set's title: a registered one's title, else the folder's name."""
    known = registered(name)
    return DATASETS[known].title if known else name.removeprefix(PREFIX) if is_hub_name(name) else Path(name).name


def places(name: str, root: str = "") -> tuple[Path, ...]:
    """The folders and files that a path may mean, in order of preference: itself, or one of its name under the data
    root.

    The path of a file means its folder, unless the file is a data set as a whole: an archive or an `.npz` file.

    Raises:
        InputError: for an invalid path.
    """
    path, data = user_path(name), data_root(root)
    named = (path, data / name, data / path.name)
    return tuple(place.parent if place.is_file() and not _is_whole(place) else place for place in named)


def _is_whole(path: Path) -> bool:
    return path.suffix.lower() == ".npz" or is_archive(path)


def load(spec: DatasetSpec, progress: Progress = silent) -> ImageDataset:
    """A data set by registered name or title, or by the path of a folder in any layout of `layouts.find`, of an archive
    of one, or of an `.npz` file; or by `hf:` and the name of a data set on the Hugging Face hub.

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
    if is_hub_name(spec.name):
        data = _opened(from_hub(spec.name, data_root(spec.root), progress), spec, progress)
        return replace(data, name=spec.name)
    for place in places(spec.name, spec.root):
        if place.is_dir() or place.is_file():  # and no pipe, which would never answer
            return _opened(place.resolve(), spec, progress)  # one name for each file, whatever links lead to it
    raise unknown_name("data set", spec.name, DATASETS, "Or pass the path of a folder or an archive.")


def _opened(place: Path, spec: DatasetSpec, progress: Progress) -> ImageDataset:
    """The data set in a folder, an archive, or a file with all of it."""
    left_out: tuple[LeftOut, ...] = ()
    if place.is_dir():
        layout = find(place, spec)
    elif place.suffix.lower() == ".npz":
        layout = Layout("arrays", place.parent, {"train": [place]})
    elif place.suffix.lower() == ".tar" and is_shard(place):
        layout = Layout("shards", place.parent, {"train": [place]})
    else:
        archive = unpacked(place, progress)
        left_out = archive.left_out
        layout = find(archive.folder, spec)
        layout = replace(layout, seen=(*layout.seen, place))
    placed = replace(spec, name=str(place), root=str(layout.home))
    read, read_as = _READERS[layout.kind]
    data = read(placed, layout, progress)
    return replace(data, left_out=(*data.left_out, *left_out), read_as=read_as)
