"""Image data sets in Hugging Face style parquet files: a column `image` = struct{bytes, path} and a column `label`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.datasets._attributes import annotate, check_names, matched, read_annotations, table_beside
from kmex_core.datasets._base import EncodedSplit, ImageDataset, Split, fingerprint, survey, usual_size, with_test
from kmex_core.errors import InputError
from kmex_core.images import DECODER
from kmex_core.specs import DatasetSpec

if TYPE_CHECKING:
    import pandas as pd


class _Bytes(Sequence[bytes]):
    """The compressed images of an Arrow column, indexable."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Any) -> Any:
        return bytes(self._column[index].as_buffer())


def parquet_files(folder: Path) -> dict[str, list[Path]]:
    """The parquet files of a folder (or its `data/`) by split: those with "train" and those with "test" in the name."""
    files = sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")])
    found = {split: [file for file in files if split in file.stem.lower()] for split in ("train", "test")}
    return found if found["train"] else {}


def load_parquet(spec: DatasetSpec) -> ImageDataset:
    """A folder with `*train*.parquet` and, if there is one, `*test*.parquet`.

    The compressed images are held in memory and decoded when they are read. Class names come from the Hugging Face
    schema metadata, else from the labels themselves. Further boolean columns are attributes, and so are those of a
    table beside the files (see `_attributes.matched`), whose rows name the images by `image.path`.

    Raises:
        InputError: for files that are no parquet, have no such columns, or labels that do not fit the class names.
    """
    import pandas as pd

    folder = Path(spec.root)
    files = parquet_files(folder)
    class_column = "" if spec.class_column == "label" else spec.class_column
    tables = {split: _read(paths, class_column) for split, paths in files.items() if paths}
    if len(tables["train"]) == 0:
        raise InputError(f"The training parquet files in {folder} have no rows.")
    columns = {split: _Bytes(table["image"].combine_chunks().field("bytes")) for split, table in tables.items()}
    shapes, channels = survey(columns["train"], f"the training parquet files in {folder}")
    where, notes = f"the table in {folder}", tuple[str, ...]()
    frames = {split: _others(table) for split, table in tables.items()}
    if beside := table_beside(folder):
        frames, notes = _joined(tables, frames, beside)
    whole = pd.concat(list(frames.values()), ignore_index=True)
    said = read_annotations(whole, len(tables["train"]), class_column, where)
    names = list(said.class_names) if class_column else _class_names(tables)
    splits: dict[str, Split] = {
        split: EncodedSplit(
            columns[split],
            np.zeros(len(table), dtype=np.int64) if class_column else _labels(table, names, folder),
            channels,
            f"the {split} parquet files in {folder}",
        )
        for split, table in tables.items()
    }
    splits, left_out = annotate(splits, said, where)
    both, held_out = with_test(splits["train"], splits.get("test"), names)
    paths = [path for part in files.values() for path in part]
    return ImageDataset(
        name=spec.name,
        splits=both,
        class_names=tuple(names),
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint(
            [*paths, *([beside] if beside else [])], "parquet", DECODER, *([class_column] if class_column else [])
        ),
        notes=(*held_out, *left_out, *notes, *said.notes),
        class_column=class_column,
    )


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
        if not class_column and "label" not in available:
            raise InputError(
                f"{paths[0]} has no column 'label'. Name the column that is the class (--class); it has: "
                f"{', '.join(plain[:60]) or 'no other columns'}."
            )
        table = pa.concat_tables([pq.read_table(path, columns=["image", *plain]) for path in paths])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{paths[0]} cannot be read as parquet ({error}).") from error
    kind = table.schema.field("image").type
    if not pa.types.is_struct(kind) or "bytes" not in [field.name for field in kind]:
        raise InputError(f"{paths[0]}: column 'image' is {kind}, but struct{{bytes, path}} was expected.")
    labelled = not class_column and "label" in table.column_names
    missing = any(chunk.field("bytes").null_count for chunk in table["image"].chunks)
    if missing or (labelled and table["label"].null_count):
        raise InputError(f"{paths[0]} has rows without an image or without a label. Remove them and try again.")
    # 64-bit offsets, so that more than 2 GB of images fit in one column
    parts = {"bytes": pa.large_binary()} | ({"path": pa.large_string()} if "path" in [f.name for f in kind] else {})
    whole = pa.struct(list(parts.items()))
    images = pa.chunked_array(
        [
            pa.StructArray.from_arrays([chunk.field(name).cast(to) for name, to in parts.items()], fields=list(whole))
            for chunk in table["image"].chunks
        ],
        type=whole,
    )
    return table.set_column(table.schema.get_field_index("image"), "image", images)


def _plain(kind: Any) -> bool:
    import pyarrow.types as types

    return any(test(kind) for test in (types.is_boolean, types.is_integer, types.is_floating, types.is_string,
                                       types.is_large_string, types.is_dictionary))  # fmt: skip


def _others(table: Any) -> pd.DataFrame:
    """All columns but the image and its label."""
    return table.drop_columns([name for name in ("image", "label") if name in table.column_names]).to_pandas()


def _joined(
    tables: dict[str, Any], frames: dict[str, pd.DataFrame], beside: Path
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """The columns of the files, and those of a table beside them."""
    import pandas as pd

    images: list[str] = []
    for split, table in tables.items():
        if "path" not in [field.name for field in table.schema.field("image").type]:
            raise InputError(f"{beside} cannot be used: the images of the {split} parquet files have no path.")
        images += [str(path or "") for path in table["image"].combine_chunks().field("path").to_pylist()]
    taken = [name for name in frames["train"].columns if name != "label"]
    whole, notes = matched(beside, images, taken)
    made, at = {}, 0
    for split, frame in frames.items():
        rows = whole.iloc[at : at + len(frame)].reset_index(drop=True)
        at += len(frame)
        made[split] = pd.concat([frame.reset_index(drop=True), rows], axis=1)
    return made, notes


def _class_names(tables: dict[str, Any]) -> list[str]:
    metadata = tables["train"].schema.metadata or {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features["label"]["names"]
        return [str(name) for name in names]
    except (KeyError, TypeError, ValueError):
        seen: set[Any] = set()
        for table in tables.values():
            seen |= set(table["label"].unique().to_pylist())
        if all(isinstance(value, int) and value >= 0 for value in seen):
            return [str(value) for value in range(max(seen) + 1)]
        return [str(value) for value in sorted(seen, key=str)]


def _labels(table: Any, names: list[str], folder: Path) -> np.ndarray:
    values = table["label"].to_pylist()
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        labels = np.array(values, dtype=np.int64)
    else:
        place = {name: i for i, name in enumerate(names)}
        labels = np.array([place[str(value)] for value in values], dtype=np.int64)
    if len(labels) and (labels.min() < 0 or labels.max() >= len(names)):
        raise InputError(
            f"{folder}: labels run from {labels.min()} to {labels.max()}, but there are {len(names)} class names "
            f"(0 to {len(names) - 1} were expected)."
        )
    return labels
