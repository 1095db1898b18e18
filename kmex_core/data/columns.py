"""Which column of a table is the class: named, or found by names and values; what is unclear is never guessed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.errors import InputError, UndecidedError
from kmex_core.base.phrases import first_few, joined
from kmex_core.data.annotations import MOST_CLASSES

if TYPE_CHECKING:
    import pandas as pd

# names that mean a class, whatever the classes are
CLASS_NAMES = (
    "label", "labels", "class", "classes", "class_name", "class_label", "label_name", "category", "category_name",
    "target", "y",
)  # fmt: skip
NAME_IT = "Name it: --label-column"


def plain_name(name: str) -> str:
    """A column's name without case and spelling: "Class Name" is "class_name"."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def is_class_name(name: str) -> bool:
    """Whether a column's name says that it is a class, such as "label", rather than which ("Smiling")."""
    return plain_name(name) in CLASS_NAMES


def class_by_name(names: Sequence[str]) -> list[str]:
    """The columns whose names are in `CLASS_NAMES`."""
    return [name for name in names if is_class_name(name)]


def class_column(frame: pd.DataFrame, others: Collection[str], where: str) -> tuple[str, str]:
    """The column of a table that is the class: the only one with such a name, else the only one with such values.

    Values of a class recur: there are 2 to `MOST_CLASSES` different ones, at most half as many as rows, and they are
    not fractions. Two columns with such names that say the same (a number and its name) are one; the text is taken.

    Args:
        frame: the table.
        others: columns that are something else.
        where: the table's name in messages.

    Returns:
        Its name, "" if there is none, and a note where it was found by its values.

    Raises:
        UndecidedError: when several columns could be the class.
    """
    candidates = [str(name) for name in frame.columns if name not in others]
    named = class_by_name(candidates)
    if len(named) > 1:
        named = _alike(frame, named)
    if not named:
        named = [name for name in candidates if _recurs(frame[name])]
        if len(named) == 1:
            return named[0], f"'{named[0]}' of {where} is taken as the class: no other column has values that recur."
    if len(named) > 1:
        raise UndecidedError(
            f"{where} has {len(named)} columns that may be the class: {first_few(named, 12)}. {NAME_IT} {named[0]}, "
            "for example.",
            "label-column",
            named,
        )
    return (named[0] if named else ""), ""


def _alike(frame: pd.DataFrame, names: list[str]) -> list[str]:
    """One of several columns if they divide the rows in the same way, a text where there is one; else all."""
    codes = [np.unique(frame[name].astype(str), return_inverse=True)[1] for name in names]
    pairs = {tuple(row) for row in np.stack(codes, 1).tolist()}
    if any(len({pair[at] for pair in pairs}) != len(pairs) for at in range(len(names))):
        return names
    texts = [name for name in names if not frame[name].astype(str).str.fullmatch(r"-?\d+(\.0)?").all()]
    return (texts or names)[:1]


def _recurs(column: pd.Series[str]) -> bool:
    values = column.dropna().astype(str)
    values = values[values.str.strip() != ""]
    different = values.unique()
    if not 2 <= len(different) <= min(MOST_CLASSES, len(values) // 2):
        return False
    return not any(_is_fraction(value) for value in different)


def _is_fraction(value: str) -> bool:
    try:
        return not float(value).is_integer()
    except (ValueError, OverflowError):
        return False


def image_column(kinds: Mapping[str, str], where: str, given: str = "") -> str:
    """The column of a table that has the images.

    Args:
        kinds: by column, what makes it likely: "declared" (by Hugging Face's metadata), "struct", "binary", or "".
        where: the table's name in messages.
        given: the column that was named; "" for none.

    Raises:
        InputError: when there is none, or (`UndecidedError`) several are equally likely.
    """
    if given:
        if given not in kinds:
            raise InputError(f"{where} has no column '{given}'; it has: {first_few(list(kinds), 20)}.")
        if not kinds[given]:
            raise InputError(f"{where}: column '{given}' has no encoded images (binary, or struct{{bytes, path}}).")
        return given
    if "image" in kinds:
        return "image"
    for kind in ("declared", "struct", "binary"):
        names = [name for name, of in kinds.items() if of == kind]
        if len(names) > 1:
            raise UndecidedError(
                f"{where} has {len(names)} columns of images: {joined('and', names[:12])}. Name one: --image-column "
                f"{names[0]}, for example.",
                "image-column",
                names,
            )
        if names:
            return names[0]
    raise InputError(
        f"{where} has no column of encoded images (binary, or struct{{bytes, path}}); it has: "
        f"{first_few(list(kinds), 20) or 'no columns'}."
    )
