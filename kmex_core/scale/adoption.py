"""Embeddings of a folder: sharded ones, or parquet files that other programs wrote, which are cut into parts once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.files import regular_files
from kmex_core.base.phrases import first_few, joined
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.base.store import Store
from kmex_core.networks.types import NO_CLASS
from kmex_core.scale.attribute_rows import MOST_ATTRIBUTES, AttributeWriter
from kmex_core.scale.parts import MOST_BYTES, MOST_DIMENSIONS, PART_ROWS
from kmex_core.scale.sharded import MANIFEST, ROOM, ShardedEmbedding, ShardWriter

VECTORS = ("z", "embedding", "embeddings", "features", "vector")
LABELS = ("label", "labels", "class", "target")
PREDICTIONS = ("black_box", "predicted", "prediction")
ROWS = 8192  # read at once
MOST_CLASSES = 100_000
_PARQUET = re.compile(r"[^.].*\.parquet")


def opened(folder: Path, store: Store, progress: Progress = silent) -> ShardedEmbedding:
    """The sharded embedding of a folder; parquet files without a manifest are copied into parts in the store, once.

    Such files have a column of lists of numbers (`VECTORS`), one of classes, as whole numbers or texts (`LABELS`), and
    perhaps one of predicted classes (`PREDICTIONS`) and attributes (boolean columns); other columns are not read. They
    are taken in the order of their names.

    Args:
        folder: of the embedding.
        store: receives the copy.
        progress: called while files are read.

    Raises:
        InputError: when there are no such files, or their columns are not such.
        StoreError: when the copy cannot be written.
    """
    files = regular_files(folder, _PARQUET)
    if (folder / MANIFEST).is_file() or not files or files[0].name.startswith("part-"):
        return ShardedEmbedding.open(folder)
    seen = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    flags = _flags(files[0])
    key = stable_key([seen, flags] if flags else seen)[:8]
    name = f"{re.sub('[^A-Za-z0-9_-]+', '-', folder.name).strip('-_')[:40] or 'embeddings'}-{key}"
    target = store.root / ROOM / name
    if (target / MANIFEST).is_file():
        return ShardedEmbedding.open(target)
    with store.locked(ROOM, name, progress=progress):
        if not (target / MANIFEST).is_file():
            _copied(files, flags, target, progress)
    return ShardedEmbedding.open(target)


def _copied(files: Sequence[Path], flags: list[str], target: Path, progress: Progress) -> None:
    columns, dimensions, total = _columns(files, flags)
    label, predicted = columns[1], columns[2]
    names = _class_names(files, [name for name in (label, predicted) if name])
    place = {name: number for number, name in enumerate(names)}
    rows = max(1, min(PART_ROWS, MOST_BYTES // (8 * dimensions)))
    texts = tuple(str(name) for name in names)
    writer = ShardWriter(target, dimensions, texts, part_rows=rows)
    done, written = 0, writer.rows
    attributes = AttributeWriter(target, flags, rows, written)
    for table in _batches(files, [*filter(None, columns), *flags]):
        count = table.num_rows
        skip = min(count, max(0, written - done))  # an earlier run has written them
        done += count
        progress(Event("Reading embeddings", done, total))
        if skip == count:
            continue
        table = table.slice(skip)
        black_box = None if not predicted else _places(table[predicted], place)
        vectors, labels = _vectors(table[columns[0]], dimensions, files[0]), _places(table[label], place)
        if flags:  # before the embeddings, whose parts say how far an interrupted run was
            attributes.add(*_booleans(table, flags))
        writer.add(vectors, labels, black_box)
    if flags:
        attributes.finish()
    writer.finish()


def _flags(path: Path) -> list[str]:
    """The boolean columns of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged or not a parquet file ({error}).") from error
    found = [field.name for field in schema if pa.types.is_boolean(field.type)]
    if len(found) > MOST_ATTRIBUTES or len(set(found)) < len(found):
        raise InputError(f"{path}: expected at most {MOST_ATTRIBUTES:,} boolean columns with different names.")
    return found


def _booleans(table: Any, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n, A) bool, what the rows have of boolean columns, and what of it is known."""
    import pyarrow.compute as pc

    has = [pc.fill_null(table[name], False).to_numpy() for name in names]
    known = [pc.is_valid(table[name]).to_numpy() for name in names]
    return np.stack(has, 1).astype(bool), np.stack(known, 1).astype(bool)


def _columns(files: Sequence[Path], flags: list[str]) -> tuple[tuple[str, str, str], int, int]:
    """The columns of vectors, classes and predictions ("" for none), the dimensions, and the rows in all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: tuple[str, str, str] | None = None
    total = 0
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                columns = _one(VECTORS, names, path), _one(LABELS, names, path), _one(PREDICTIONS, names, path, False)
                total += file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged or not a parquet file ({error}).") from error
        if found not in (None, columns) or _flags(path) != flags:
            raise InputError(f"{path} has other columns than {files[0]}: all files need the same.")
        found = columns
    assert found is not None
    first = next(_batches(files, [found[0]]), None)
    if first is None:
        raise InputError(f"The parquet files of {files[0].parent} have no rows.")
    vectors = first[found[0]]
    if not any(test(vectors.type) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        raise InputError(f"{files[0]}: column '{found[0]}' is {vectors.type}; expected lists of numbers.")
    dimensions = len(vectors[0]) if vectors[0].is_valid else 0
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise InputError(
            f"{files[0]}: the first embedding has {dimensions:,} numbers; expected 1 to {MOST_DIMENSIONS:,}."
        )
    return found, dimensions, total


def _one(known: Sequence[str], names: Sequence[str], path: Path, needed: bool = True) -> str:
    for name in known:
        if name in names:
            return name
    if needed:
        raise InputError(
            f"{path} has no column {joined('or', known)}: it has {first_few(list(names), 12) or 'no columns'}."
        )
    return ""


def _batches(files: Sequence[Path], columns: list[str]) -> Iterator[Any]:
    """The rows of all files, some at once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(ROWS, columns=columns):
                    if batch.num_rows:
                        yield pa.table(batch)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged or not a parquet file ({error}).") from error


def _class_names(files: Sequence[Path], columns: list[str]) -> list[Any]:
    """The classes: texts sorted, or whole numbers from 0 to the largest."""
    import pyarrow as pa

    found: set[Any] = set()
    for table in _batches(files, columns):
        for name in columns:
            kind = table[name].type
            if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise InputError(f"{files[0]}: column '{name}' is {kind}; expected whole numbers or texts.")
            if table[name].null_count:
                raise InputError(f"{files[0]}: column '{name}' has rows without a class. Leave such rows out.")
            found |= set(table[name].unique().to_pylist())
        if len(found) > MOST_CLASSES:
            raise InputError(f"{files[0].parent} has more than {MOST_CLASSES:,} classes.")
    numbers = [value for value in found if isinstance(value, int)]
    if not numbers:
        return sorted(found)
    numbers = [value for value in numbers if value != NO_CLASS]
    if len(numbers) < len(found) - (NO_CLASS in found) or min(numbers) < 0 or max(numbers) >= MOST_CLASSES:
        raise InputError(
            f"{files[0].parent}: expected classes as texts, or as numbers from 0 to {MOST_CLASSES - 1}; got "
            f"{first_few(sorted(map(str, found)), 4)}."
        )
    return list(range(max(numbers) + 1))


def _places(column: Any, place: dict[Any, int]) -> np.ndarray:
    return np.array([place.get(value, NO_CLASS) for value in column.to_pylist()], dtype=np.int64)


def _vectors(column: Any, dimensions: int, path: Path) -> np.ndarray:
    """(n, D) float32 of a column of lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column)
    if column.null_count or pc.any(pc.not_equal(lengths, dimensions)).as_py():
        raise InputError(f"The files of {path.parent} have embeddings of different lengths, or rows without one.")
    try:
        values = pc.list_flatten(column).cast(pa.float32()).to_numpy()
    except pa.ArrowException as error:
        raise InputError(f"{path}: the embeddings are not numbers ({error}).") from error
    return np.asarray(values, dtype=np.float32).reshape(-1, dimensions)
