"""Tables that name images: a row for each, in a file beside them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json

if TYPE_CHECKING:
    import pandas as pd

FILES = ("attributes.csv", "attributes.parquet", "metadata.csv", "metadata.parquet")
KEYS = ("file_name", "filename", "file", "image", "image_id", "path")
JSON_LINES = (".jsonl", ".ndjson")
MOST_BYTES = 1 << 30  # of a table of text
MOST_HEADER = 1 << 20


def table_beside(folder: Path) -> Path | None:
    """The file of attributes in a folder of images, None when there is none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def matched(path: Path, images: Sequence[str], taken: Collection[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table's rows in the order of the images, and notes on what did not match.

    Args:
        path: a CSV or parquet file with a column from `KEYS` that names each image: by its path in the folder, its path
            in the split's folder, or its file name where that is unique.
        images: N paths in the folder, such as `train/cat/1.png`.
        taken: column names already in use.

    Returns:
        A table of N rows without the naming column (an image without a row has missing values), and notes.

    Raises:
        InputError: for a file that cannot be read, names that clash, no naming column, two rows for one image, or no
            matching row.
    """
    import pandas as pd

    table = read_table(path)
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    check_names([*taken, *table.columns], str(path))
    key = next((name for name in KEYS if name in table.columns), None)
    if key is None:
        raise InputError(
            f"{path} has no column that names the images. Expected one of {', '.join(KEYS)}; found: "
            f"{', '.join(map(str, table.columns[:12]))}."
        )
    place = _places(images)
    named = [str(value).strip().replace("\\", "/").removeprefix("./") for value in table[key]]
    rows = np.array([place.get(name, -1) for name in named], dtype=np.int64)
    lost = np.flatnonzero(rows < 0)
    if len(lost) == len(rows):
        first = f"'{named[0]}'" if named else "nothing"
        raise InputError(
            f"No row of {path} matches an image: '{key}' contains {first}, images are named like '{images[0]}'."
        )
    twice = [image for image, count in Counter(rows[rows >= 0].tolist()).items() if count > 1]
    if twice:
        raise InputError(f"{path} has more than one row for {images[twice[0]]} (and {len(twice) - 1:,} others).")
    notes = []
    if len(lost):
        notes.append(f"{len(lost):,} rows of {path.name} match no image and are left out; the first: {named[lost[0]]}.")
    fitted = table.drop(columns=key).iloc[rows >= 0].set_axis(rows[rows >= 0]).reindex(range(len(images)))
    without = len(images) - int((rows >= 0).sum())
    if without:
        notes.append(f"{without:,} images have no row in {path.name}: their attributes are unknown.")
    return fitted, tuple(notes)


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse column names that look the same to a person.

    Raises:
        InputError: when two names differ only in case, spaces and underscores, or one is empty.
    """
    seen: dict[str, str] = {}
    for name in names:
        plain = " ".join(name.replace("_", " ").lower().split())
        if not plain:
            raise InputError(f"{where} has a column without a name.")
        if plain in seen:
            raise InputError(f"{where}: the columns '{seen[plain]}' and '{name}' clash. Rename one of them.")
        seen[plain] = name


def read_table(path: Path) -> pd.DataFrame:
    """A table from a CSV (with commas, semicolons or tabs), JSON lines or parquet file; text files give texts, "" where
    a value is missing.

    Raises:
        InputError: when it is over `MOST_BYTES` of text, cannot be read, or has names that clash.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            names = pq.read_schema(path).names
            check_names(names, str(path))
            return pq.read_table(path).to_pandas()
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(
                f"{path} has {size / 2**20:,.0f} MB; the limit for a table of text is {MOST_BYTES >> 20:,}."
            )
        if path.suffix.lower() in JSON_LINES:
            return _read_lines(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline(MOST_HEADER)
            separator = max(",;\t", key=header.count)  # the first of them where none occurs
            file.seek(0)
            names = [name.strip() for name in next(csv.reader(file, delimiter=separator), [])]
        check_names(names, str(path))
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator)
    except InputError:
        raise
    except (pa.ArrowException, pd.errors.ParserError, csv.Error, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as a table ({error}).") from error


def _read_lines(path: Path) -> pd.DataFrame:
    """A table from a file with a JSON object per line; values that are lists or objects are left out."""
    import pandas as pd

    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row = read_json(line)
            if not isinstance(row, dict):
                raise InputError(f"Line {number} of {path}: expected a JSON object, got '{line.strip()[:60]}'.")
            plain = {name: value for name, value in row.items() if not isinstance(value, dict | list)}
            rows.append({name: "" if value is None else str(value) for name, value in plain.items()})
    table = pd.DataFrame(rows, dtype=str).fillna("")
    check_names([str(name) for name in table.columns], str(path))
    return table


def _places(images: Sequence[str]) -> dict[str, int]:
    """The position of each image, by each of its unique names."""
    by_name: dict[str, int] = {}
    shared: set[str] = set()
    for position, image in enumerate(images):
        for name in {image, image.partition("/")[2], image.rpartition("/")[2]} - {""}:
            if name in by_name and name != image:
                shared.add(name)
            by_name.setdefault(name, position)
    whole = {image: position for position, image in enumerate(images)}
    return {name: position for name, position in by_name.items() if name not in shared} | whole
