"""Small data sets: folders and parquet files of striped images, and attributes for the digits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kmex_core.data import opened
from kmex_core.data.registry import ImageDataset
from tests.helpers.pictures import encoded, striped

ATTRIBUTES = ("Even", "Below_Five", "Round", "Coin", "Rare")


def with_attributes(data: ImageDataset) -> ImageDataset:
    """The digits with attributes: three that follow from the digit, one of chance, one that 1% of images have."""
    for at, split in enumerate(data.splits.values()):
        digit, random = split.labels, np.random.default_rng(at)
        columns = (
            digit % 2 == 0,
            digit < 5,
            np.isin(digit, (0, 6, 8, 9)),
            random.random(len(digit)) < 0.5,
            random.permutation(len(digit)) < len(digit) // 100,
        )
        split.attribute_names, split.attributes = ATTRIBUTES, np.stack(columns, 1)
    return data


def close_datasets() -> None:
    """Make the engine open every data set anew, as a new process would."""
    opened._opened.clear()


def write_folder(
    root: Path, classes: tuple[str, ...], train: int, test: int, size: int = 16, channels: int = 3
) -> Path:
    """An image folder with striped images."""
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(classes):
            here = root / split / name
            if count:
                here.mkdir(parents=True)
            for i, image in enumerate(striped(label, count, size, channels, seed=len(split))):
                (here / f"{i:03}.png").write_bytes(encoded(image))
    return root


def write_parquet(path: Path, images: list[bytes], labels: Sequence[object], names: list[str] | None) -> Path:
    """A Hugging Face style parquet file, with class names in its metadata unless `names` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array(
        [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": column, "label": pa.array(labels)})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path
