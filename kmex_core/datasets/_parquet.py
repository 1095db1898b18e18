"""Image data sets in Hugging Face style parquet files: a column `image` = struct{bytes, path} and a column `label`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.datasets._base import EncodedSplit, ImageDataset, fingerprint, survey, usual_size, with_test
from kmex_core.errors import InputError
from kmex_core.specs import DatasetSpec


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
    schema metadata, else from the labels themselves.

    Raises:
        InputError: for files that are no parquet, have no such columns, or labels that do not fit the class names.
    """
    folder = Path(spec.root)
    files = parquet_files(folder)
    tables = {split: _read(paths) for split, paths in files.items() if paths}
    names = _class_names(tables)
    labels = {split: _labels(table, names, folder) for split, table in tables.items()}
    columns = {split: _Bytes(table["image"].combine_chunks().field("bytes")) for split, table in tables.items()}
    if len(columns["train"]) == 0:
        raise InputError(f"The training parquet files in {folder} have no rows.")
    shapes, channels = survey(columns["train"], f"the training parquet files in {folder}")
    splits = {
        split: EncodedSplit(columns[split], labels[split], channels, f"the {split} parquet files in {folder}")
        for split in tables
    }
    both, notes = with_test(splits["train"], splits.get("test"), names)
    return ImageDataset(
        name=spec.name,
        splits=both,
        class_names=tuple(names),
        channels=channels,
        image_size=spec.image_size or usual_size(shapes),
        augmentation="flip-crop" if channels == 3 else "none",
        fingerprint=fingerprint([path for paths in files.values() for path in paths], "parquet"),
        notes=notes,
    )


def _read(paths: list[Path]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        available = pq.read_schema(paths[0]).names
        missing = [name for name in ("image", "label") if name not in available]
        if missing:
            raise InputError(
                f"{paths[0]} has no column '{missing[0]}'. Expected 'image' (struct of bytes and path) and 'label'; "
                f"it has: {', '.join(available[:20])}."
            )
        table = pa.concat_tables([pq.read_table(path, columns=["image", "label"]) for path in paths])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{paths[0]} cannot be read as parquet ({error}).") from error
    kind = table.schema.field("image").type
    if not pa.types.is_struct(kind) or "bytes" not in [field.name for field in kind]:
        raise InputError(f"{paths[0]}: column 'image' is {kind}, but struct{{bytes, path}} was expected.")
    if table["image"].combine_chunks().field("bytes").null_count or table["label"].null_count:
        raise InputError(f"{paths[0]} has rows without an image or without a label. Remove them and try again.")
    # 64-bit offsets, so that more than 2 GB of images fit in one column
    whole = pa.struct([pa.field("bytes", pa.large_binary())])
    images = pa.chunked_array(
        [
            pa.StructArray.from_arrays([chunk.field("bytes").cast(pa.large_binary())], fields=list(whole))
            for chunk in table["image"].chunks
        ],
        type=whole,
    )
    return table.set_column(table.schema.get_field_index("image"), "image", images)


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
