"""Image data sets in Hugging Face style parquet files: a column `image` = struct{bytes, path} and a column `label`."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.annotations import annotate, check_names, matched, read_annotations, table_beside
from kmex_core.data.content import THREADS, Watch, as_array, digest_of, known_fact
from kmex_core.data.dataset import (
    EncodedSplit,
    ImageDataset,
    Split,
    fingerprint,
    survey,
    usual_size,
    with_test_split,
)
from kmex_core.data.files import Tally, check_of, file_digests, name_in, refuse_broken, shared_note
from kmex_core.data.splits import SPLITS, Layout

if TYPE_CHECKING:
    import pandas as pd

ROWS = 256  # images per task
UNLABELLED = "images without a label"
OUT_OF_SCOPE = "Every image must have exactly one class."


class _Bytes(Sequence[bytes]):
    """The compressed images of an Arrow column by index; `rows` restricts them to some rows."""

    def __init__(self, column: Any, rows: np.ndarray | None = None) -> None:
        self._column = column
        self._rows = rows

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        value = self._column[index if self._rows is None else int(self._rows[index])]
        return bytes(value.as_buffer()) if value.is_valid else b""


def load_parquet(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """A folder with parquet files for each split.

    The compressed images are held in memory and decoded on access. Class names come from the Hugging Face
    schema metadata, else from the labels themselves: integers, whole floats, truth values or texts. Further boolean
    columns are attributes, as are those of a table beside the files (see `annotations.matched`), whose rows name the
    images by `image.path`.

    Args:
        spec: `root` is the folder.
        layout: its splits.
        progress: called while images are checked for the first time.

    Raises:
        InputError: for files that are not parquet, have no such columns, images that cannot be decoded, or labels that
            are not one class each.
    """
    import pandas as pd

    folder = Path(spec.root)
    files = {split: layout.places[split] for split in SPLITS if split in layout.places}
    class_column = "" if spec.class_column == "label" else spec.class_column
    tables = {split: _read(paths, class_column) for split, paths in files.items()}
    if len(tables["train"]) == 0:
        raise InputError(f"The training parquet files in {folder} have no rows.")
    tally = Tally()
    paths = [path for part in files.values() for path in part]
    digests = file_digests([(path, path.name) for path in paths], progress)
    identity = [
        f"{split}|{name_in(path, folder)}|".encode() + digests[paths.index(path)]
        for split, part in files.items()
        for path in part
    ]
    broken, contents, notes = _examined(tables, spec.skip_broken, str(folder), identity, tally, progress)
    labels, names = (None, []) if class_column else _labels(tables, folder)
    rows = {}
    for split, table in tables.items():
        usable = np.ones(len(table), dtype=bool)
        usable[broken[split]] = False
        if labels is not None:
            for row in np.flatnonzero(usable & (labels[split] < 0)):
                tally.add(UNLABELLED, f"row {row} of the {split} split")
            usable &= labels[split] >= 0
        rows[split] = np.flatnonzero(usable)
    if len(rows["train"]) == 0:
        raise InputError(f"No readable training image in {folder} has a label.")
    columns = {
        split: _Bytes(table["image"].combine_chunks().field("bytes"), rows[split]) for split, table in tables.items()
    }
    shapes, channels, decoder = survey(columns["train"], f"the training parquet files in {folder}")
    where = f"the table in {folder}"
    frames = {split: _others(table).iloc[rows[split]].reset_index(drop=True) for split, table in tables.items()}
    if beside := table_beside(folder):
        images = {split: _image_paths(table, split, beside) for split, table in tables.items()}
        frames, unmatched = _joined(
            {split: [images[split][row] for row in rows[split]] for split in images}, frames, beside
        )
        notes += unmatched
        identity += file_digests([(beside, beside.name)])
    whole = pd.concat(list(frames.values()), ignore_index=True)
    annotations = read_annotations(
        whole, len(rows["train"]), class_column, where, _feature_names(tables["train"], class_column)
    )
    splits: dict[str, Split] = {
        split: EncodedSplit(
            columns[split],
            np.zeros(len(rows[split]), dtype=np.int64) if labels is None else labels[split][rows[split]],
            contents[split][rows[split]],
            channels,
            f"the {split} parquet files in {folder}",
        )
        for split in tables
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
            "parquet",
            decoder,
            class_column,
            {split: part.tolist() for split, part in broken.items()},
            *divided.marks,
        ),
        notes=(*divided.notes, *layout.notes, *without, *notes, *annotations.notes),
        class_column=class_column,
        test_from=divided.test_from,
        left_out=tally.result(),
        watched=(*(Watch(place, deep=False) for place in layout.seen), *(Watch(path) for path in paths)),
    )


def _examined(
    tables: dict[str, Any], skip_broken: bool, where: str, identity: Sequence[bytes], tally: Tally, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """The rows of each split with a broken image, all images' digests, and notes on images shared by splits."""
    look, level = check_of(skip_broken)

    def find() -> dict[str, Any]:
        flaws: dict[str, list[tuple[int, str]]] = {}
        digests: dict[str, list[bytes]] = {}
        done, total = 0, sum(len(table) for table in tables.values())
        for split, table in tables.items():
            column = _Bytes(table["image"].combine_chunks().field("bytes"))

            def some_rows(start: int, column: _Bytes = column) -> list[tuple[str, bytes]]:
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

    known: Any = known_fact(f"parquet-{level}-{digest_of(identity).hex()}", find)
    flaws = {split: [(int(row), str(flaw)) for row, flaw in known["flaws"].get(split, [])] for split in tables}
    named = [(f"row {row} of the {split} split", flaw) for split, part in flaws.items() for row, flaw in part]
    refuse_broken(named, sum(len(table) for table in tables.values()), skip_broken, where, tally)
    rows = {split: np.array([row for row, _ in part], dtype=np.int64) for split, part in flaws.items()}
    digests = {split: as_array(base64.b64decode(known["digests"][split])) for split in tables}
    return rows, digests, known["notes"]


def _shared(digests: dict[str, list[bytes]]) -> Iterator[str]:
    train = {digest: row for row, digest in enumerate(digests["train"])}
    for split, part in digests.items():
        shared = [(row, train[digest]) for row, digest in enumerate(part) if split != "train" and digest in train]
        if shared:
            yield shared_note(split, len(shared), len(part), f"its row {shared[0][0]} is training row {shared[0][1]}")


def _read(paths: list[Path], class_column: str) -> Any:
    """The images, the label if there is one, and every column that may be an attribute or the class."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(paths[0])
        available = schema.names
        check_names(available, str(paths[0]))
        if "image" not in available:
            raise InputError(
                f"{paths[0]} has no column 'image'. Expected 'image' (struct of bytes and path) and 'label'; "
                f"it has: {', '.join(available[:20])}."
            )
        plain = [field.name for field in schema if field.name != "image" and _plain(field.type)]
        if not class_column and "label" in available:
            _check_label(schema.field("label").type, paths[0])
        elif not class_column:
            raise InputError(
                f"{paths[0]} has no column 'label'. Name the column that is the class (--class); it has: "
                f"{', '.join(plain[:60]) or 'no other columns'}."
            )
        table = pa.concat_tables([pq.read_table(path, columns=["image", *plain]) for path in paths])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{paths[0]} cannot be read as parquet ({error}).") from error
    kind = table.schema.field("image").type
    if not pa.types.is_struct(kind) or "bytes" not in [field.name for field in kind]:
        raise InputError(f"{paths[0]}: column 'image' is {kind}; expected struct{{bytes, path}}.")
    # 64-bit offsets, so that more than 2 GB of images fit in one column
    parts = {"bytes": pa.large_binary()} | ({"path": pa.large_string()} if "path" in [f.name for f in kind] else {})
    whole = pa.struct(list(parts.items()))
    try:
        chunks = [
            pa.StructArray.from_arrays([chunk.field(name).cast(to) for name, to in parts.items()], fields=list(whole))
            for chunk in table["image"].chunks
        ]
    except pa.ArrowException as error:
        raise InputError(f"{paths[0]}: column 'image' is {kind}; expected struct{{bytes, path}} ({error}).") from error
    images = pa.chunked_array(chunks, type=whole)
    return table.set_column(table.schema.get_field_index("image"), "image", images)


def _plain(kind: Any) -> bool:
    import pyarrow.types as types

    kinds = (
        types.is_null,
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_string,
        types.is_large_string,
        types.is_dictionary,
    )
    return any(test(kind) for test in kinds)


def _others(table: Any) -> pd.DataFrame:
    """All columns except the image and its label."""
    return table.drop_columns([name for name in ("image", "label") if name in table.column_names]).to_pandas()


def _image_paths(table: Any, split: str, beside: Path) -> list[str]:
    if "path" not in [field.name for field in table.schema.field("image").type]:
        raise InputError(f"{beside} cannot be used: the images of the {split} parquet files have no path.")
    return [str(path or "") for path in table["image"].combine_chunks().field("path").to_pylist()]


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


def _check_label(kind: Any, path: Path) -> None:
    import pyarrow.types as types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        raise InputError(
            f"{path}: column 'label' holds lists, several labels per image. {OUT_OF_SCOPE} Multi-label data are not "
            "supported; name a column that is the class (--class)."
        )
    if not _plain(kind):
        raise InputError(
            f"{path}: column 'label' is {kind}; expected integers, truth values or texts, one class per image."
        )


def _feature_names(table: Any, column: str) -> list[str]:
    """The names of a column's values 0, 1, … in the Hugging Face metadata; empty if there are none."""
    metadata = table.schema.metadata or {}
    try:
        names = read_json(metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _labels(tables: dict[str, Any], folder: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Each split's labels (−1 for none), and the class names."""
    columns = {split: _label_values(table, folder, split) for split, table in tables.items()}
    order: dict[Any, int] = {}
    if named := _feature_names(tables["train"], "label"):
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
    names = _feature_names(table, "label")
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
