"""Tables beside pictures that give each one's class, and perhaps its split: found by the values of their columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.phrases import first_few, joined
from kmex_core.data.columns import class_by_name, class_column, plain_name
from kmex_core.data.files import is_system, name_in
from kmex_core.data.tables import JSON_LINES, KEYS, read_table

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", *JSON_LINES, ".parquet")
SPLIT_NAMES = ("split", "set", "subset", "partition", "phase", "usage", "data_set", "fold")
SAMPLE = 200  # rows in which a column of names must match pictures
ENOUGH = 0.5  # of them


@dataclass(frozen=True, eq=False)
class Sheets:
    """The rows of one or several tables that name pictures and their classes.

    Attributes:
        files: the tables, and their names in the data set.
        frame: their other columns, a row for each picture that has one, as texts ("" for none).
        images: (n,) the position of each row's picture.
        label: the column that is the class.
        split: (n,) the split that a column or the table's name gives, "" for none.
        notes: what a person should know about the choice.
    """

    files: tuple[tuple[Path, str], ...]
    frame: pd.DataFrame
    images: np.ndarray
    label: str
    split: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The tables' names in messages."""
        return joined("and", [name for _, name in self.files])


@dataclass(frozen=True, eq=False)
class _Table:
    path: Path
    name: str
    frame: pd.DataFrame
    key: str
    images: np.ndarray  # by row, -1 for none
    label: str = ""
    notes: tuple[str, ...] = field(default=())


class Names:
    """Pictures by what a table may call them: path, path below any folder, file name, or file name without suffix.

    Args:
        images: their paths in the data set, with `/`.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self._whole = {name: position for position, name in enumerate(images)}
        self._file: dict[str, int] = {}
        self._stem: dict[str, int] = {}
        for name, position in self._whole.items():
            file = name.rpartition("/")[2]
            for by, short in ((self._file, file), (self._stem, os.path.splitext(file)[0])):
                by[short] = -1 if short in by else position

    def find(self, value: str, prefix: str = "") -> int:
        """The position of a picture, −1 if there is none or the name fits several.

        Args:
            value: as the table has it.
            prefix: the folder of the table in the data set, with a `/` at its end.
        """
        value = value.strip().replace("\\", "/").removeprefix("./")
        if not value:
            return -1
        for whole in (prefix + value, value):
            if whole in self._whole:
                return self._whole[whole]
        file = value.rpartition("/")[2]
        return self._file.get(file, self._stem.get(file, -1))


def candidates(folder: Path) -> list[Path]:
    """The files in a folder and in its folders that may be such tables."""
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not is_system(path.name))]
    files = []
    for place in places:
        try:
            files += [path for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES]
        except OSError:  # `scan` tells of a folder that cannot be read
            continue
    return [path for path in files if path.is_file() and not is_system(path.name)]


def find_sheets(
    folder: Path,
    paths: Iterable[Path],
    images: Sequence[str],
    label: str,
    key: str,
    split_of_name: Callable[[str], str],
    by_values: bool = True,
) -> tuple[Sheets | None, tuple[str, ...]]:
    """The tables that name pictures and give their classes, None if there are none, and notes on tables not used.

    Args:
        folder: of the data set.
        paths: see `candidates`.
        images: the pictures' paths in the data set.
        label, key: the columns that are the class and the picture's name, where they are named; else "".
        split_of_name: the split that a word, or a file's name, says; "" for none.
        by_values: whether a column can be the class because of its values, whatever its name.

    Raises:
        InputError: when it is unclear which tables or columns are meant, or a named one is missing.
    """
    names = Names(images)
    naming = [table for path in paths if (table := _naming(folder, path, names, key)) is not None]
    tables = [_with_label(table, label, split_of_name, by_values) for table in naming]
    labelled = [table for table in tables if table.label]
    if not labelled:
        if label and naming:
            columns = first_few([str(name) for name in naming[0].frame.columns], 20)
            raise InputError(
                f"{folder / naming[0].name} has no column '{label}' to use as the class; it has: {columns}."
            )
        return None, tuple(
            f"{table.name} names pictures, but no column of it is known to be the class. To use one: --label-column."
            for table in naming
        )
    splits = [split_of_name(Path(table.name).name) or split_of_name(str(Path(table.name).parent)) for table in labelled]
    if len(labelled) == 1:
        splits = [""]  # its name may say anything: columns and folders tell the split
    elif "" in splits or len(set(splits)) < len(splits):
        listed = joined("and", [table.name for table in labelled])
        raise InputError(
            f"{folder} has several tables that give the classes of its pictures: {listed}. Keep one, or one for each "
            "split, named after it."
        )
    return _joined(labelled, [table for table in tables if not table.label], splits, images, split_of_name), ()


def _naming(folder: Path, path: Path, names: Names, key: str) -> _Table | None:
    """A table and its column that names pictures; None for a table that has none."""
    if path.suffix.lower() == ".parquet" and has_images(path):
        return None
    name = name_in(path, folder)
    try:
        frame = read_table(path)
    except InputError:
        if key:
            raise
        return None  # something else, such as a log; it is counted as left out
    frame = frame.rename(columns=lambda column: str(column).strip()).astype(object)
    frame = frame.where(frame.notna(), "").astype(str)
    prefix = name.rpartition("/")[0]
    prefix += "/" if prefix else ""
    rows = np.unique(np.linspace(0, max(len(frame) - 1, 0), min(SAMPLE, len(frame)) or 1).astype(int))
    shares = {}
    for column in frame.columns if len(frame) else ():
        sample = frame[column].iloc[rows]
        shares[str(column)] = np.mean([names.find(value, prefix) >= 0 for value in sample])
    if key and key not in shares:
        return None
    fitting = [key] if key else [column for column, share in shares.items() if share >= ENOUGH]
    if len(fitting) > 1:
        known = [column for column in KEYS if column in fitting]
        if not known:
            raise InputError(
                f"{path} has {len(fitting)} columns that name pictures: {joined('and', fitting)}. Name one: "
                f"--image-column {fitting[0]}, for example."
            )
        fitting = known[:1]
    if not fitting:
        return None
    images = np.array([names.find(value, prefix) for value in frame[fitting[0]]], dtype=np.int64)
    if (images < 0).all():
        raise InputError(f"No row of {path} matches a picture: '{fitting[0]}' contains '{frame[fitting[0]].iloc[0]}'.")
    return _Table(path, name, frame, fitting[0], images)


def has_images(path: Path) -> bool:
    """Whether a parquet file has a column that may be encoded images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return False
    return any(pa.types.is_struct(of.type) or pa.types.is_binary(of.type) for of in schema)


def _with_label(table: _Table, label: str, split_of_name: Callable[[str], str], by_values: bool) -> _Table:
    if label:
        return _Table(table.path, table.name, table.frame, table.key, table.images, label * (label in table.frame))
    column = _split_column(table.frame, split_of_name)
    if not by_values and not class_by_name([str(name) for name in table.frame.columns]):
        return table
    found, note = class_column(table.frame, {table.key, column}, str(table.path))
    return _Table(table.path, table.name, table.frame, table.key, table.images, found, (note,) if note else ())


def _split_column(frame: pd.DataFrame, split_of_name: Callable[[str], str]) -> str:
    """The column that gives the split of each row: by its name, and all its values are words for splits."""
    for name in frame.columns:
        if plain_name(str(name)) in SPLIT_NAMES:
            values = [value for value in frame[name].unique() if value.strip()]
            if values and all(split_of_name(value) for value in values):
                return str(name)
    return ""


def _joined(
    labelled: list[_Table],
    others: list[_Table],
    splits: list[str],
    images: Sequence[str],
    split_of_name: Callable[[str], str],
) -> Sheets:
    import pandas as pd

    frames, positions, given = [], [], []
    notes = [note for table in labelled for note in table.notes]
    for table, split in zip(labelled, splits, strict=True):
        if table.label != labelled[0].label:
            raise InputError(
                f"The class is in column '{labelled[0].label}' of {labelled[0].name} and in column '{table.label}' of "
                f"{table.name}. Use one name in all tables."
            )
        rows = np.flatnonzero(table.images >= 0)
        column = _split_column(table.frame, split_of_name)
        of_rows = [split_of_name(value) for value in table.frame[column]] if column else [split] * len(table.frame)
        frames.append(table.frame.drop(columns=[table.key, *([column] if column else [])]).iloc[rows])
        positions.append(table.images[rows])
        given.append(np.array(of_rows, dtype=object)[rows])
        lost = np.flatnonzero(table.images < 0)
        if len(lost):
            first = table.frame[table.key].iloc[lost[0]]
            notes.append(f"{len(lost):,} rows of {table.name} match no picture and are left out; the first: {first}.")
        spoken = f"; its column '{column}' gives the split" if column else ""
        notes.append(f"Read by {table.name}: '{table.key}' names the picture, '{table.label}' is the class{spoken}.")
    notes += [f"Not used, because it gives no class: {table.name}." for table in others]
    where = np.concatenate(positions)
    different, counts = np.unique(where, return_counts=True)
    if len(different) < len(where):
        twice = images[int(different[counts > 1][0])]
        raise InputError(
            f"{joined('and', [table.name for table in labelled])}: more than one row for {twice} (and "
            f"{int((counts > 1).sum()) - 1:,} others). Every image must have exactly one class."
        )
    return Sheets(
        tuple((table.path, table.name) for table in labelled),
        pd.concat(frames, ignore_index=True).fillna(""),
        where,
        labelled[0].label,
        np.concatenate(given),
        tuple(notes),
    )
