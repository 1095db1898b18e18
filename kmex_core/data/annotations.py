"""Tables of attributes: one row per image, boolean columns, and the column that is the class.

A boolean column contains true and false, yes and no, 1 and 0, or 1 and −1; a missing value is neither. Any other column
with few different values can be the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.errors import InputError, unknown_name
from kmex_core.base.phrases import first_few
from kmex_core.data.dataset import Split, Subset

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 1000
_WORDS = {"true": 1, "yes": 1, "t": 1, "y": 1, "1": 1, "false": 0, "no": 0, "f": 0, "n": 0, "0": 0, "-1": -1}
_MISSING = ("", "na", "n/a", "nan", "null", "none")


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotations of N images from a table.

    Attributes:
        names: A attributes.
        has: (N, A) bool; False where unknown.
        known: (N, A) bool.
        labels: (N,) int64 from the class column, −1 where it has no value; None without a class column.
        class_names: the names of the labels.
        notes: what was left out, and why.
    """

    names: tuple[str, ...]
    has: np.ndarray
    known: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def read_annotations(
    table: pd.DataFrame,
    train: int,
    class_column: str,
    where: str,
    class_names: Sequence[str] = (),
    words_only: bool = False,
) -> Annotations:
    """Attributes, and optionally the class, from a table whose first `train` rows are the training images.

    Columns that are not boolean are ignored, and so are those that are constant over the training images: there is
    nothing to cover.

    Args:
        table: a row for each image.
        train: how many rows are of the training split.
        class_column: the column that is the class; "" for none.
        where: the table's name in messages.
        class_names: the names of the values 0, 1, … of the class column, if known.
        words_only: name the classes by the values of a boolean class column, too, and not by the column.

    Raises:
        InputError: when the class column does not exist or cannot be used as the class.
    """
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    constant, notes = [], []
    labels, names = None, tuple[str, ...]()
    if class_column:
        if class_column not in table.columns:
            raise unknown_name("column", class_column, table.columns, f"It was expected in {where}.")
        labels, names = _classes(table[class_column], class_column, where, class_names, words_only)
    for name in table.columns:
        if name == class_column or (values := boolean(table[name])) is None:
            continue
        has, known = values
        if len(np.unique(has[:train][known[:train]])) < 2:
            constant.append(name)
        else:
            columns[name] = values
    if constant:
        notes.append(
            f"Ignored as attributes, because they are the same for all training images: {first_few(constant, 6)}."
        )
    unknown = {name: int((~known).sum()) for name, (_, known) in columns.items() if not known.all()}
    if unknown:
        notes.append(
            f"{sum(unknown.values()):,} values of attributes are missing ({first_few(list(unknown), 6)}). These images "
            "count neither as having the attribute nor as not having it."
        )
    return Annotations(
        tuple(columns),
        np.stack([has for has, _ in columns.values()], 1) if columns else np.empty((len(table), 0), dtype=bool),
        np.stack([known for _, known in columns.values()], 1) if columns else np.empty((len(table), 0), dtype=bool),
        labels,
        names,
        tuple(notes),
    )


def annotate(
    splits: Mapping[str, Split], annotations: Annotations, where: str
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Splits with the attributes and classes of a table whose rows are the training images, then the test images.

    Images without a class are left out.

    Returns:
        The splits, and a note where images were left out.

    Raises:
        InputError: when no training image has a class.
    """
    start, annotated, left_out = 0, {}, 0
    for name, split in splits.items():
        rows = slice(start, start + len(split))
        start += len(split)
        split.attribute_names, split.attributes = annotations.names, annotations.has[rows]
        split.known = None if annotations.known[rows].all() else annotations.known[rows]
        if annotations.labels is not None:
            split.labels = annotations.labels[rows]
            labelled = np.flatnonzero(split.labels >= 0)
            left_out += len(split) - len(labelled)
            if len(labelled) < len(split):
                split = Subset(split, labelled)
        annotated[name] = split
    if len(annotated["train"]) == 0:
        raise InputError(f"No training image has a class in {where}.")
    return annotated, (f"{left_out:,} images are left out, because they have no class in {where}.",) if left_out else ()


def boolean(column: pd.Series[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """The values of a boolean column, and which are known, (N,) bool each; None if the column is not boolean.

    True and false, yes and no, 1 and 0, or 1 and −1, as words or as numbers.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    known = ~column.isna().to_numpy()
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.fillna(False).to_numpy(dtype=bool, copy=True), known
    different = column[known].unique()
    if len(different) > 2 + len(_MISSING) or not known.any():
        return None
    meant: dict[Any, int | None] = {}
    for value in different:
        word = str(value).strip().lower()
        word = word.removesuffix(".0") if isinstance(value, float) else word
        if word not in _WORDS and word not in _MISSING:
            return None
        meant[value] = _WORDS.get(word)
    numbers = {number for number in meant.values() if number is not None}
    if not numbers or {0, -1} <= numbers:
        return None
    coded = column.map(lambda value: meant.get(value) if not pd.isna(value) else None)
    known = ~coded.isna().to_numpy()
    return (coded == 1).fillna(False).to_numpy(dtype=bool, copy=True), known


def _classes(
    column: pd.Series[Any], name: str, where: str, given: Sequence[str], words_only: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    values = None if given or words_only else boolean(column)
    if given:
        numbers = column.fillna(-1).to_numpy()
        if (
            numbers.dtype.kind not in "iufb"
            or (numbers != numbers.astype(np.int64)).any()
            or (numbers.max(initial=-1) >= len(given) or numbers.min(initial=-1) < -1)
        ):
            raise InputError(
                f"Column '{name}' of {where} does not match its {len(given)} class names: expected 0 to "
                f"{len(given) - 1}."
            )
        labels, names = numbers.astype(np.int64), list(given)
    elif values is not None:
        has, known = values
        labels = np.where(known, has.astype(np.int64), -1)
        names = [f"not {name}", name]
    else:
        known = ~(column.isna() | (column.astype(str).str.strip() == "")).to_numpy()
        different = sorted(column[known].unique().tolist(), key=lambda value: (isinstance(value, str), value))
        if len(different) > MOST_CLASSES:
            raise InputError(
                f"Column '{name}' of {where} has {len(different):,} different values, over {MOST_CLASSES:,}: "
                "it cannot be used as the class."
            )
        place = {value: label for label, value in enumerate(different)}
        labels = np.array(
            [place[value] if is_known else -1 for value, is_known in zip(column, known, strict=True)], np.int64
        )
        names = [f"{value:g}" if isinstance(value, float) else str(value) for value in different]
    if len(np.unique(labels[labels >= 0])) < 2:
        raise InputError(f"Column '{name}' of {where} is the same for all images: it cannot be used as the class.")
    return labels, tuple(names)
