"""Data sets of encoded images in tables, however they are stored: a row per image, with a label or other columns."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, read_annotations
from kmex_core.data.content import THREADS, Watch, as_array, digest_of, known_fact
from kmex_core.data.dataset import EncodedSplit, ImageDataset, Split, fingerprint, survey, usual_size
from kmex_core.data.files import Tally, check_of, file_digests, name_in, refuse_broken, shared_note
from kmex_core.data.held_out import with_test_split
from kmex_core.data.splits import Layout
from kmex_core.data.tables import matched, table_beside

if TYPE_CHECKING:
    import pandas as pd

ROWS = 256  # images per task
UNLABELLED = "images without a label"
OUT_OF_SCOPE = "Every image must have exactly one class."


@dataclass(frozen=True, eq=False)
class Rows:
    """A split of N images.

    Attributes:
        images: N encoded images.
        table: an Arrow table of their N other values; a column `label` is the class unless another one is.
        paths: their names, for a table of attributes beside them; None where they have none.
    """

    images: Sequence[bytes]
    table: Any
    paths: Callable[[], list[str]] | None = None


@dataclass(frozen=True)
class Stored:
    """How the rows of a data set are stored.

    Attributes:
        kind: of storage, part of fingerprints.
        what: the files in messages: "parquet files".
        files: by split.
        marks: what was chosen in reading them, part of the fingerprint.
    """

    kind: str
    what: str
    files: Mapping[str, Sequence[Path]]
    marks: tuple[str, ...] = ()


class Selected(Sequence[bytes]):
    """Some of the images of a sequence, by row."""

    def __init__(self, images: Sequence[bytes], rows: np.ndarray) -> None:
        self._images = images
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._images[int(self._rows[index])]


def load_rows(
    spec: DatasetSpec,
    layout: Layout,
    stored: Stored,
    rows: Mapping[str, Rows],
    class_column: str,
    progress: Progress = silent,
) -> ImageDataset:
    """A data set of encoded images in tables, which are decoded on access.

    Class names come from the Hugging Face schema metadata, else from the labels themselves: integers, whole floats,
    truth values or texts. Further boolean columns are attributes, as are those of a table beside the files (see
    `tables.matched`).

    Args:
        spec: `root` is the folder.
        layout: its splits.
        stored: where the rows come from.
        rows: of each split.
        class_column: the column that is the class, "" for `label`.
        progress: called while images are checked for the first time.

    Raises:
        InputError: for images that cannot be decoded, or labels that are not one class each.
    """
    import pandas as pd

    folder, what = Path(spec.root), stored.what
    tables = {split: of.table for split, of in rows.items()}
    if len(rows["train"].images) == 0:
        raise InputError(f"The training {what} in {folder} have no rows.")
    tally = Tally()
    paths = [path for part in stored.files.values() for path in part]
    digests = file_digests([(path, path.name) for path in paths], progress)
    identity = [
        f"{split}|{name_in(path, folder)}|".encode() + digests[paths.index(path)]
        for split, part in stored.files.items()
        for path in part
    ]
    broken, contents, notes = _examined(rows, stored, spec.skip_broken, str(folder), identity, tally, progress)
    labels, names = (None, []) if class_column else _labels(tables, folder)
    kept = {}
    for split, of in rows.items():
        usable = np.ones(len(of.images), dtype=bool)
        usable[broken[split]] = False
        if labels is not None:
            for row in np.flatnonzero(usable & (labels[split] < 0)):
                tally.add(UNLABELLED, f"row {row} of the {split} split")
            usable &= labels[split] >= 0
        kept[split] = np.flatnonzero(usable)
    if len(kept["train"]) == 0:
        raise InputError(f"No readable training image in {folder} has a label.")
    images = {split: Selected(of.images, kept[split]) for split, of in rows.items()}
    shapes, channels, decoder = survey(images["train"], f"the training {what} in {folder}")
    where = f"the table in {folder}"
    frames = {split: _others(table).iloc[kept[split]].reset_index(drop=True) for split, table in tables.items()}
    if beside := table_beside(folder):
        named = {split: _image_names(of, split, beside, what) for split, of in rows.items()}
        frames, unmatched = _joined(
            {split: [named[split][row] for row in kept[split]] for split in named}, frames, beside
        )
        notes += unmatched
        identity += file_digests([(beside, beside.name)])
    whole = pd.concat(list(frames.values()), ignore_index=True)
    annotations = read_annotations(
        whole, len(kept["train"]), class_column, where, feature_names(tables["train"], class_column)
    )
    splits: dict[str, Split] = {
        split: EncodedSplit(
            images[split],
            np.zeros(len(kept[split]), dtype=np.int64) if labels is None else labels[split][kept[split]],
            contents[split][kept[split]],
            channels,
            f"the {split} {what} in {folder}",
        )
        for split in rows
    }
    splits, without = annotate(splits, annotations, where)
    names = list(annotations.class_names) if class_column else names
    divided = with_test_split(splits, names)
    return ImageDataset(
        name=spec.name,
        splits=divided.splits,
        class_names=tuple(names),
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint(
            identity,
            stored.kind,
            decoder,
            class_column,
            {split: part.tolist() for split, part in broken.items()},
            *stored.marks,
            *divided.marks,
        ),
        notes=(*divided.notes, *layout.notes, *without, *notes, *annotations.notes),
        class_column=class_column,
        test_from=divided.test_from,
        left_out=tally.result(),
        watched=(*(Watch(place, deep=False) for place in layout.seen), *(Watch(path) for path in paths)),
    )


def _examined(
    rows: Mapping[str, Rows],
    stored: Stored,
    skip_broken: bool,
    where: str,
    identity: Sequence[bytes],
    tally: Tally,
    progress: Progress,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """The rows of each split with a broken image, all images' digests, and notes on images shared by splits."""
    look, level = check_of(skip_broken)

    def find() -> dict[str, Any]:
        flaws: dict[str, list[tuple[int, str]]] = {}
        digests: dict[str, list[bytes]] = {}
        done, total = 0, sum(len(of.images) for of in rows.values())
        for split, of in rows.items():
            column = of.images

            def some_rows(start: int, column: Sequence[bytes] = column) -> list[tuple[str, bytes]]:
                part = [column[row] for row in range(start, min(start + ROWS, len(column)))]
                return [(look(image), digest_of([image])) for image in part]

            flaws[split], digests[split] = [], []
            with ThreadPoolExecutor(THREADS) as pool:
                for part in pool.map(some_rows, range(0, len(column), ROWS)):
                    first = len(digests[split])
                    flaws[split] += [(first + row, flaw) for row, (flaw, _) in enumerate(part) if flaw]
                    digests[split] += [digest for _, digest in part]
                    done += len(part)
                    progress(Event("Checking images", done, total))
        joined = {split: base64.b64encode(b"".join(part)).decode() for split, part in digests.items()}
        return {"flaws": flaws, "digests": joined, "notes": list(_shared(digests))}

    known: Any = known_fact(
        f"{stored.kind}-{level}-{digest_of([*identity, *map(str.encode, stored.marks)]).hex()}", find
    )
    flaws = {split: [(int(row), str(flaw)) for row, flaw in known["flaws"].get(split, [])] for split in rows}
    named = [(f"row {row} of the {split} split", flaw) for split, part in flaws.items() for row, flaw in part]
    refuse_broken(named, sum(len(of.images) for of in rows.values()), skip_broken, where, tally)
    broken = {split: np.array([row for row, _ in part], dtype=np.int64) for split, part in flaws.items()}
    digests = {split: as_array(base64.b64decode(known["digests"][split])) for split in rows}
    return broken, digests, known["notes"]


def _shared(digests: dict[str, list[bytes]]) -> Iterator[str]:
    train = {digest: row for row, digest in enumerate(digests["train"])}
    for split, part in digests.items():
        shared = [(row, train[digest]) for row, digest in enumerate(part) if split != "train" and digest in train]
        if shared:
            yield shared_note(split, len(shared), len(part), f"its row {shared[0][0]} is training row {shared[0][1]}")


def _others(table: Any) -> pd.DataFrame:
    """All columns except the label."""
    return table.drop_columns([name for name in ("label",) if name in table.column_names]).to_pandas()


def _joined(
    images: dict[str, list[str]], frames: dict[str, pd.DataFrame], beside: Path
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The columns of the files, and those of a table beside them."""
    import pandas as pd

    taken = [name for name in frames["train"].columns if name != "label"]
    whole, notes = matched(beside, [path for part in images.values() for path in part], taken)
    joined, start = {}, 0
    for split, frame in frames.items():
        rows = whole.iloc[start : start + len(frame)].reset_index(drop=True)
        start += len(frame)
        joined[split] = pd.concat([frame, rows], axis=1)
    return joined, list(notes)


def _image_names(rows: Rows, split: str, beside: Path, what: str) -> list[str]:
    if rows.paths is None:
        raise InputError(f"{beside} cannot be used: the images of the {split} {what} have no path.")
    return rows.paths()


def feature_kinds(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """The kind of each column that the Hugging Face metadata of a schema declares: "Image", "ClassLabel", …"""
    features = _features(metadata)
    return {name: str(of["_type"]) for name, of in features.items() if isinstance(of, dict) and "_type" in of}


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    try:
        features = read_json((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def feature_names(table: Any, column: str) -> list[str]:
    """The names of a column's values 0, 1, … in the Hugging Face metadata; empty if there are none."""
    try:
        names = _features(table.schema.metadata)[column]["names"]
    except (KeyError, TypeError):
        return []
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _labels(tables: Mapping[str, Any], folder: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Each split's labels (−1 for none), and the class names."""
    columns = {split: _label_values(table, folder, split) for split, table in tables.items()}
    order: dict[Any, int] = {}
    if named := feature_names(tables["train"], "label"):
        order = {name: label for label, name in enumerate(named)}
        if len(order) < len(named):
            raise InputError(f"{folder}: two classes have the same name in the schema ({first_few(named)}).")
    seen = {value for values, _ in columns.values() for value in values if value is not None} - set(order)
    for value in sorted(seen, key=lambda value: (isinstance(value, str), value)):
        order[value] = len(order)
    labels = {}
    for split, (values, which) in columns.items():
        place = np.array([-1 if value is None else order[value] for value in values] + [-1], dtype=np.int64)
        labels[split] = place[which]
    return labels, [str(value) for value in order]


def _label_values(table: Any, folder: Path, split: str) -> tuple[list[Any], np.ndarray]:
    """The different labels of a split (None: no class), and for each image the index of its label (−1: none)."""
    column = table["label"].combine_chunks()
    if not hasattr(column, "indices"):
        column = column.dictionary_encode()
    which = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = feature_names(table, "label")
    values: list[Any] = []
    for value in column.dictionary.to_pylist():
        if isinstance(value, float):
            if value != value:
                values.append(None)
                continue
            if not value.is_integer():
                raise InputError(
                    f"{folder}: the {split} labels are numbers such as {value:g}. {OUT_OF_SCOPE} Regression is not "
                    "supported; name a column that is the class (--class)."
                )
            value = int(value)
        if isinstance(value, bool):
            value = names[int(value)] if len(names) == 2 else str(value)
        elif isinstance(value, int) and names:
            if value == -1:  # Hugging Face's value for an unknown class
                values.append(None)
                continue
            if not 0 <= value < len(names):
                raise InputError(
                    f"{folder}: a label of the {split} split is {value}, but there are {len(names)} class names "
                    f"(expected 0 to {len(names) - 1})."
                )
            value = names[value]
        elif isinstance(value, str):
            value = unicodedata.normalize("NFC", value).strip() or None
        values.append(value)
    return values, which
