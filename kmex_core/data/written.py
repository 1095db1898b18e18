"""Pictures from Python, kept as a data set of their own: parquet files that are read like anybody's."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError, StoreError
from kmex_core.base.files import make_folder
from kmex_core.base.jsontext import write_json
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.store import checked_name, demand_writable
from kmex_core.data import uploads
from kmex_core.data.dataset import EncodedSplit, Split, Subset
from kmex_core.data.display import png

MOST_BYTES = 2 * 2**30
SPARE = 256 * 2**20  # bytes that stay free on the disk
GROUP = 64  # images that are held in memory


def place_of(root: Path, name: str) -> Path:
    """Where the pictures of a model are kept: among the uploads, where pages list and delete them.

    Args:
        root: the store's.
        name: the model's.
    """
    return root / uploads.ROOM / checked_name(name).replace(".", "-")


@contextlib.contextmanager
def written(
    folder: Path,
    splits: Mapping[str, Iterable[tuple[bytes, int]]],
    total: int,
    class_names: Sequence[str],
    progress: Progress = silent,
) -> Iterator[Path]:
    """Write splits as parquet files with encoded images and Hugging Face's description of the columns.

    The folder appears as a whole in its place when the context ends well; one that is there is replaced.

    Args:
        folder: its place.
        splits: encoded images with their labels 0…C−1.
        total: how many images there are.
        class_names: C names.
        progress: called as images are written.

    Yields:
        The new folder, before it is in its place.

    Raises:
        InputError: when they take more than `MOST_BYTES` or there is no space, or in a read-only store.
        StoreError: when they cannot be written.
    """
    demand_writable("The images cannot be kept")
    make_folder(folder.parent)
    part = folder.with_name(f".{secrets.token_hex(16)}.part")  # as of an upload, so that upkeep knows it
    try:
        part.mkdir()
        done, size = 0, 0
        for split, images in splits.items():
            for length in _write_split(part / f"{split}.parquet", images, class_names):
                done, size = done + 1, size + length
                _check_size(size, done, total, folder.parent)
                progress(Event("Writing images", done, total))
        yield part
        _replace(part, folder)
    except OSError as error:
        raise StoreError(f"The images cannot be written to {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_split(path: Path, images: Iterable[tuple[bytes, int]], class_names: Sequence[str]) -> Iterator[int]:
    """Write a split, and give the size of each image that is done."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(class_names)}}
    schema = pa.schema([pa.field("image", image), pa.field("label", pa.int64())]).with_metadata(
        {"huggingface": write_json({"info": {"features": features}})}
    )
    rest = iter(images)
    with pq.ParquetWriter(path, schema, compression="none") as out:
        while group := list(itertools.islice(rest, GROUP)):
            columns = {
                "image": [{"bytes": content, "path": None} for content, _ in group],
                "label": [int(label) for _, label in group],
            }
            out.write_table(pa.Table.from_pydict(columns, schema=schema))
            yield from (len(content) for content, _ in group)


def encoded_images(split: Split) -> Iterator[tuple[bytes, int]]:
    """A split's images as files have them, with their labels; those that are no files as PNG, losslessly."""
    for row, label in enumerate(split.labels.tolist()):
        yield encoded(split, row), label


def encoded(split: Split, row: int) -> bytes:
    """An image of a split as a file has it: its own, or losslessly as PNG."""
    if isinstance(split, Subset):
        return encoded(split.whole, int(split.indices[row]))
    if isinstance(split, EncodedSplit):
        source = split.sources[row]
        if isinstance(source, bytes):
            return source
        if isinstance(source, Path):
            return source.read_bytes()
    return png(np.asarray(split.image(row)))


def _check_size(size: int, done: int, total: int, folder: Path) -> None:
    expected = max(size, size // done * total)
    if size > MOST_BYTES or (done >= min(total, GROUP) and expected > MOST_BYTES):
        raise InputError(
            f"The {total:,} images take about {expected / 2**30:,.1f} GB; at most {MOST_BYTES // 2**30} GB from Python "
            "are kept in the store. Save them as files in class folders, and pass the folder's path as images."
        )
    if done % GROUP == 1 and shutil.disk_usage(folder).free < SPARE + expected - size:
        raise InputError(f"There is not enough space in {folder} for {total:,} images ({expected / 2**30:,.1f} GB).")


def _replace(part: Path, folder: Path) -> None:
    """Put a finished folder in its place; at every moment the old or the new one is whole somewhere."""
    old = part.with_suffix(".gone")
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
