"""How the files in a folder are read as a data set: one rule for each layout, and an error that names them all."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few, joined
from kmex_core.base.specs import DatasetSpec
from kmex_core.data import sheets
from kmex_core.data.files import Tally, is_picture, is_system, name_in, scan
from kmex_core.data.splits import SPARE_WORDS, WORDS, Layout, layout_of, parquet_files, word_of
from kmex_core.data.tables import FILES, matched, table_beside
from kmex_core.data.tar import is_shard

READ = (
    "train/<class>/* (and test/, val/)",
    "<class>/*",
    "pictures with a table of files and labels (CSV, JSON lines, parquet)",
    "parquet files",
    "datasets.save_to_disk",
    ".npz",
    "WebDataset .tar files",
    "a zip or tar of one of these",
)
FOLDER_LEVEL = re.compile(r"folder:([1-9])")  # as a class column: the folder at that level
DEEPEST = 4  # folders that hold nothing but one folder
MOST_FOLDERS = 20  # beside each other in which a data set is looked for
MOST_NAMES = 100_000  # of files that are looked at for a picture
# words for where or when pictures were taken, and what no class is called: dates, numbers, a letter with a number
_SESSION = re.compile(
    r"(sessions?|sess|days?|dates?|batch|runs?|visits?|patients?|subjects?|sub|participants?|users?|persons?|cameras?|cam"
    r"|sites?|scenes?|seq|sequences?|videos?|clips?|trips?|takes?|weeks?|months?|plots?|slides?|case|[a-z])?"
    r"[\s_.-]*\d+([\s_.:T-]*\d+)*[a-z]?",
    re.IGNORECASE,
)


class _NothingReadable(InputError):
    """A folder in which nothing fits."""


def find(folder: Path, spec: DatasetSpec, depth: int = 0) -> Layout:
    """The layout of a data set's folder. In this order:

    1. "parquet": parquet files with images, some named after the training split (see `splits.layout_of`);
    2. "arrow": what `save_to_disk` of Hugging Face's `datasets` writes, with `dataset_dict.json` or `state.json`;
    3. "folder": folders named after splits, one of them `train`, with at least two class folders;
    4. "shards": tar files, in it or in folders named after splits;
    5. "arrays": `.npz` files;
    6. "sheet": pictures in any folders, and a table that names them and gives their classes. Beside class folders that
       is only a table with a column such as "label", and neither attributes.* nor metadata.*;
    7. "parquet" without names of splits: all files are training images;
    8. "folder" in any other case;
    9. "classes": at least two folders with pictures, which are the classes;
    10. what is in its only folder that has anything of the above.

    Args:
        folder: an absolute path.
        spec: its columns.
        depth: how many folders above hold nothing else.

    Raises:
        InputError: when nothing fits, or it is unclear what does.
    """
    layout = layout_of(folder)
    files = layout.places["train"] if layout.kind == "parquet" else parquet_files(folder)
    if layout.kind == "parquet" and not _is_list(files[0]):
        return layout
    if arrow := _arrow(folder):
        return arrow
    train = layout.places["train"][0] if layout.kind == "folder" else None
    if train is not None:
        by_folders = not spec.class_column and len(_with_pictures(train)) > 1
        if by_folders or FOLDER_LEVEL.fullmatch(spec.class_column) or _gives(layout, spec.class_column):
            return _with_note_on_sessions(layout, train)
    for kind, suffix in (("shards", ".tar"), ("arrays", ".npz")):
        if found := _by_suffix(folder, layout, kind, suffix):
            return found
    roots = [] if train is not None else _with_pictures(folder)
    tabled, unused = _sheet(folder, layout, spec, beside_classes=len(roots) > 1)
    if tabled:
        column = "" if tabled.sheets is None else tabled.sheets.label
        return replace(layout, notes=tabled.notes, class_column=column) if _gives(layout, column) else tabled
    if layout.kind:
        return layout
    encoded = [path for path in files if sheets.has_images(path)]
    if not encoded and len(roots) > 1 and not _have_splits(roots):
        return _classes(folder, roots, unused)
    if encoded or (files and not roots):  # unless they are images, `load_parquet` says what they are
        note = "The names of the parquet files say no split: all of them are training images."
        return Layout("parquet", folder, {"train": encoded or files}, notes=(note,), seen=(folder,))
    return _deeper(folder, spec, depth, layout)


def _is_list(path: Path) -> bool:
    """Whether a parquet file names pictures rather than having them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False
    return "image" not in names and not sheets.has_images(path) and _has_picture(path.parent)


def _gives(layout: Layout, column: str) -> bool:
    """Whether the table of attributes beside folders named after splits has a column, and rows for their pictures."""
    table = table_beside(layout.home)
    if not column or layout.kind != "folder" or table is None:
        return False
    images = [name for of in layout.places.values() for name in scan(of[0], layout.home, Tally()).files.names()]
    try:
        return bool(images) and column in matched(table, images, ())[0].columns
    except InputError:
        return False


def _with_pictures(folder: Path) -> list[Path]:
    """The direct folders of a folder that have a picture at any depth, sorted."""
    with os.scandir(folder) as entries:  # which know what is a folder
        inner = sorted(entry.path for entry in entries if not is_system(entry.name) and entry.is_dir())
    return [Path(path) for path in inner if _has_picture(path)]


def _has_picture(folder: str | Path) -> bool:
    names = (name for _, _, names in os.walk(folder) for name in names)
    return any(is_picture(name) for name in itertools.islice(names, MOST_NAMES))


def _have_splits(folders: list[Path]) -> bool:
    """Whether folders, or what is directly in them, are named by a word for a split: they are no classes."""
    every = [*folders, *(path for folder in folders for path in folder.iterdir() if path.is_dir())]
    return any(path.name.lower() in WORDS | SPARE_WORDS for path in every)


# ---- classes and sessions -------------------------------------------------------------------------------------------


def is_session(name: str) -> bool:
    """Whether a folder's name looks like a session rather than a class: `2020-05-01`, `session 3`, `p07`, `12`."""
    return _SESSION.fullmatch(name.strip()) is not None


def class_level(folders: list[Path]) -> tuple[int, str]:
    """Which level of nested folders has the classes, and a note where there are two levels.

    The outer one, unless all outer names look like sessions, no inner name does, and at least half of the inner names
    occur in several of the outer folders.

    Args:
        folders: the outer ones.
    """
    inner = {path.name: {below.name for below in _with_pictures(path)} for path in folders}
    names = Counter(name for below in inner.values() for name in below)
    if not names or not all(inner.values()):
        return 1, ""
    recurring = sum(count > 1 for count in names.values())
    outside, inside = first_few(sorted(inner), 3), first_few(sorted(names), 3)
    by_name = all(is_session(name) for name in inner) and not any(is_session(name) for name in names)
    if by_name and recurring >= len(names) / 2:
        return 2, (
            f"Read as <session>/<class>: the outer folders ({outside}) look like sessions, and the inner ones "
            f"({inside}) are the classes. If the outer ones are: --label-column folder:1."
        )
    return 1, (
        f"Read as <class>/<session>: the outer folders ({outside}) are the classes. If the inner ones ({inside}) are: "
        "--label-column folder:2."
    )


def _classes(folder: Path, folders: list[Path], unused: tuple[str, ...]) -> Layout:
    level, note = class_level(folders)
    read = f"There are no folders named after splits: the folders in {folder.name}/ are read as classes."
    return Layout("classes", folder, {"train": [folder]}, notes=(note or read, *unused), seen=(folder,), level=level)


def _with_note_on_sessions(layout: Layout, train: Path) -> Layout:
    """The layout of `train/<class>/`, which stays as it is, with a note where the classes look like sessions."""
    folders = _with_pictures(train)
    level, note = class_level(folders) if all(is_session(path.name) for path in folders) else (1, "")
    if level == 1:
        return layout
    inner = note.partition("(")[2].partition(")")[0]
    return replace(
        layout,
        notes=(
            *layout.notes,
            f"The classes ({inner}) look like sessions. If the folders inside them are the classes: --label-column "
            "folder:2.",
        ),
    )


# ---- other files ----------------------------------------------------------------------------------------------------


def _arrow(folder: Path) -> Layout | None:
    """What `DatasetDict.save_to_disk` or `Dataset.save_to_disk` wrote."""
    if (folder / "state.json").is_file() and list(folder.glob("*.arrow")):
        return Layout("arrow", folder, {"train": [folder]}, seen=(folder,))
    if not (folder / "dataset_dict.json").is_file():
        return None
    inner = sorted(path.parent for path in folder.glob("*/state.json"))
    places: dict[str, list[Path]] = {}
    for path in inner:
        if split := word_of(path.name):
            places.setdefault(split, []).append(path)
    if "train" not in places and len(inner) == 1:
        places = {"train": inner}
    others = tuple(path.name for path in inner if path not in [place for of in places.values() for place in of])
    if "train" not in places:
        raise InputError(f"{folder} has no split named train: {first_few([path.name for path in inner]) or 'nothing'}.")
    notes = (f"Not used, because their names give no split: {first_few(others)}.",) if others else ()
    return Layout("arrow", folder, places, others, notes, (folder, *inner))


def _by_suffix(folder: Path, layout: Layout, kind: str, suffix: str) -> Layout | None:
    """Files with a suffix in a folder, or in folders named after splits, by the splits in their names."""
    homes = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not is_system(path.name))]
    files = [
        (path, home) for home in homes for path in _with_suffix(home, suffix) if home == folder or word_of(home.name)
    ]
    if kind == "shards":
        files = [(path, home) for path, home in files if is_shard(path)]
    if not files:
        return None
    if kind == "arrays":
        if len(files) > 1:
            names = first_few([name_in(path, folder) for path, _ in files])
            raise InputError(f"{folder} has several .npz files: {names}. Pass the path of the one that is meant.")
        return Layout(kind, folder, {"train": [files[0][0]]}, seen=(folder,))
    places: dict[str, list[Path]] = {}
    unsaid = []
    for path, home in files:
        split = word_of(path.name) or (word_of(home.name) if home != folder else "")
        if split:
            places.setdefault(split, []).append(path)
        else:
            unsaid.append(path)
    notes = []
    if not places:
        places = {"train": unsaid}
        notes.append("The names of the tar files say no split: all of them are training images.")
    elif unsaid:
        names = first_few([name_in(path, folder) for path in unsaid])
        notes.append(f"Not used, because their names give no split: {names}.")
    if "train" not in places:
        raise InputError(
            f"{folder} has tar files, but none for the training split: expected the word 'train' in names such as "
            f"{files[0][0].name}."
        )
    return Layout(kind, folder, places, notes=tuple(notes), seen=(folder,))


def _with_suffix(folder: Path, suffix: str) -> Iterator[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    yield from (
        path for path in inside if path.suffix.lower() == suffix and path.is_file() and not is_system(path.name)
    )


def _sheet(
    folder: Path, layout: Layout, spec: DatasetSpec, beside_classes: bool
) -> tuple[Layout | None, tuple[str, ...]]:
    if FOLDER_LEVEL.fullmatch(spec.class_column):
        return None, ()
    paths = sheets.candidates(folder)
    strict = beside_classes and not spec.class_column
    if strict:
        paths = [path for path in paths if path.name not in FILES]
    if not paths:
        return None, ()
    images = list(scan(folder, folder, Tally()).files.names())
    if not images:
        return None, ()
    found, notes = sheets.find_sheets(
        folder, paths, images, spec.class_column, spec.image_column, word_of, by_values=not strict
    )
    if found is None:
        return None, notes
    return Layout("sheet", folder, layout.places, notes=(*layout.notes, *found.notes), seen=(folder,), sheets=found), ()


# ---- one folder deeper ----------------------------------------------------------------------------------------------


def _deeper(folder: Path, spec: DatasetSpec, depth: int, layout: Layout) -> Layout:
    """What is in the only folder that has a data set."""
    found, errors = [], []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not is_system(path.name))
    for path in inner if depth < DEEPEST and len(inner) <= MOST_FOLDERS else ():
        try:
            found.append((path, find(path, spec, depth + 1 if len(inner) == 1 else DEEPEST)))
        except _NothingReadable:
            continue
        except InputError as error:
            errors.append(error)
    if len(found) == 1:
        path, deeper = found[0]
        return replace(deeper, notes=(f"Read from {path.name}/, the only folder with a data set.", *deeper.notes))
    if len(found) > 1:
        names = joined("and", [f"{path.name}/" for path, _ in found[:6]])
        raise InputError(f"{folder} has several data sets: {names}. Pass the path of the one that is meant.")
    if len(errors) == 1:
        raise errors[0]
    unused = f" These names match no split: {first_few(layout.others)}." if layout.others else ""
    raise _NothingReadable(
        f"{folder} contains no readable data set. Found: {_inventory(folder)}.{unused} These layouts are read: "
        f"{'; '.join(READ)}."
    )


def _inventory(folder: Path) -> str:
    """What is in a folder, in words: its folders, and files by suffix at any depth (of about `MOST_NAMES`)."""
    kinds: Counter[str] = Counter()
    for _, _, names in os.walk(folder):
        kinds.update(os.path.splitext(name)[1].lower() or "no suffix" for name in names if not is_system(name))
        if kinds.total() > MOST_NAMES:
            break
    inner = sorted(path.name + "/" for path in folder.iterdir() if path.is_dir())
    parts = [f"{count:,} files with {suffix}" for suffix, count in kinds.most_common(5)]
    return "; ".join([*([f"folders {first_few(inner)}"] if inner else []), *parts]) or "nothing"
