"""One part of a sharded embedding: a parquet file with consecutive rows, those of each class together."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.files import digest, write_bytes
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.networks.types import NO_CLASS, Embeddings

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PART_ROWS = 65_536
MOST_DIMENSIONS = 65_536
MOST_BYTES = 2**31  # of a part in memory: what is larger was not written by this program
COLUMNS = {"index": "int64", "label": "int32", "black_box": "int32"}  # besides z
ABOUT = b"kmex"  # what a part says of itself, in the file's metadata


@dataclass(frozen=True)
class Part:
    """A part as the manifest has it.

    Attributes:
        file: its name in the folder.
        first: index of its first row.
        rows: how many it has.
        counts: C numbers, its rows of each class.
        digest: of its content, see `base.files.digest`.
    """

    file: str
    first: int
    rows: int
    counts: tuple[int, ...]
    digest: str


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a sharded embedding in memory, in the order of their index.

    Attributes:
        index: (n,) int64, the rows' places in the split.
        z: (n, D) float32, the embedding.
        labels: (n,) int64, the true classes.
        black_box: (n,) int64, the classes that the black box predicts; `NO_CLASS` if it predicts none.
    """

    index: np.ndarray
    z: np.ndarray
    labels: np.ndarray
    black_box: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    @property
    def embeddings(self) -> Embeddings:
        """The rows without their places."""
        return Embeddings(self.z, self.labels, self.black_box)

    def taken(self, rows: np.ndarray) -> Block:
        """Some of the rows."""
        return Block(self.index[rows], self.z[rows], self.labels[rows], self.black_box[rows])

    @classmethod
    def joined(cls, blocks: list[Block], dimensions: int) -> Block:
        """The rows of several blocks, one after the other; none for no blocks."""
        if not blocks:
            none = np.empty(0, np.int64)
            return cls(none, np.empty((0, dimensions), np.float32), none, none)
        return cls(*(np.concatenate([getattr(block, name) for block in blocks]) for name in cls.__annotations__))


def part_name(number: int) -> str:
    """The file of the part with this number, from 0."""
    return f"part-{number:06d}.parquet"


def content_digest(block: Block) -> str:
    """The fingerprint of a part's rows."""
    return digest({"z": block.z, "labels": block.labels, "black_box": block.black_box, "index": block.index})


def write_part(folder: Path, number: int, block: Block, classes: int, identity: str) -> Part:
    """Write a part: all of it or nothing, sorted by class, a row group for each class that occurs.

    Args:
        folder, number: which part of which folder.
        block: its rows, with consecutive indices.
        classes: C.
        identity: of the whole, so that a part of another embedding is not taken for one of this.

    Raises:
        InputError: for embeddings that are not finite, or classes that are not 0 … C − 1.
        StoreError: when it cannot be written.
    """
    import pyarrow.parquet as pq

    _check(block, classes)
    counts = np.bincount(block.labels, minlength=classes)
    part = Part(part_name(number), int(block.index[0]), len(block), tuple(counts.tolist()), content_digest(block))
    about = {"identity": identity, "first": part.first, "counts": part.counts, "digest": part.digest}
    schema = _schema(block.z.shape[1]).with_metadata({ABOUT: write_json(about)})
    ordered = block.taken(np.argsort(block.labels, kind="stable"))
    ends = np.cumsum(counts)
    file = io.BytesIO()
    with pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=["z.list.element"],  # bytes of equal weight together: smaller, and faster to read
        write_statistics=["index", "label"],
        write_page_checksum=True,
    ) as writer:
        for label in np.flatnonzero(counts).tolist():
            writer.write_table(_table(ordered.taken(np.arange(ends[label] - counts[label], ends[label])), schema))
    write_bytes(folder / part.file, file.getvalue())
    return part


def _schema(dimensions: int) -> Any:
    import pyarrow as pa

    plain = [pa.field(name, pa.type_for_alias(kind), nullable=False) for name, kind in COLUMNS.items()]
    return pa.schema([*plain, pa.field("z", _vector(dimensions), nullable=False)])


def _vector(dimensions: int) -> Any:
    import pyarrow as pa

    return pa.list_(pa.field("element", pa.float32(), nullable=False), dimensions)


def _table(block: Block, schema: Any) -> Any:
    import pyarrow as pa

    z = pa.FixedSizeListArray.from_arrays(pa.array(block.z.reshape(-1)), type=schema.field("z").type)
    columns = [
        pa.array(block.index),
        pa.array(block.labels.astype(np.int32)),
        pa.array(block.black_box.astype(np.int32)),
    ]
    return pa.table([*columns, z], schema=schema)


def _check(block: Block, classes: int) -> None:
    if len(block) == 0:
        raise InputError("There are no embeddings to write.")
    bad = int((~np.isfinite(block.z).all(1)).sum())
    if bad:
        raise InputError(
            f"{bad:,} of the embeddings {block.index[0]:,} to {block.index[-1]:,} are not finite (NaN or infinite)."
        )
    if block.labels.min() < 0 or block.labels.max() >= classes:
        raise InputError(
            f"Expected classes 0 to {classes - 1} for the rows {block.index[0]:,} to {block.index[-1]:,}, got "
            f"{block.labels.min()} to {block.labels.max()}."
        )
    if block.black_box.min() < NO_CLASS or block.black_box.max() >= classes:
        raise InputError(
            f"Expected predicted classes −1 to {classes - 1}, got {block.black_box.min()} to {block.black_box.max()}."
        )


def whole_part(folder: Path, number: int, first: int, dimensions: int, classes: int, identity: str) -> Part | None:
    """The part of this number if it is there, whole, begins with this row and belongs to this embedding, else None.

    All of it is read, and compared with its digest.
    """
    path = folder / part_name(number)
    if not path.is_file():
        return None
    try:
        with _opened(path) as file:
            about = _about(file)
            counts = tuple(int(count) for count in about["counts"])
            part = Part(path.name, int(about["first"]), sum(counts), counts, str(about["digest"]))
            if about["identity"] != identity or part.first != first or len(counts) != classes:
                return None
        block = read_block(folder, part, dimensions)
    except (InputError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return part if content_digest(block) == part.digest else None


def check_part(folder: Path, part: Part, dimensions: int) -> None:
    """Compare a part with the manifest: what its footer says of it, and only where that is right, its rows.

    Memory is bounded by the part.

    Raises:
        InputError: when it is missing, damaged, or another one.
    """
    path = folder / part.file
    with _opened(path) as file:
        _groups(file, path, part, dimensions)
        try:
            about = _about(file)
            same = (about["first"], about["digest"]) == (part.first, part.digest)
        except (ValueError, KeyError, TypeError, RecursionError):
            same = False
    if not same:
        raise InputError(f"{path} is not the part that the manifest has: it says other things of itself.")
    if content_digest(read_block(folder, part, dimensions)) != part.digest:
        raise InputError(f"{path} is damaged: its rows do not match their digest.")


def _about(file: pq.ParquetFile) -> Any:
    """What a part says of itself: identity, first row, rows of each class, digest."""
    return read_json((file.schema_arrow.metadata or {}).get(ABOUT, b"{}"))


def read_block(folder: Path, part: Part, dimensions: int) -> Block:
    """All rows of a part.

    Raises:
        InputError: when the file is missing, damaged, or is not what the manifest says.
    """
    with _opened(folder / part.file) as file:
        groups = _groups(file, folder / part.file, part, dimensions)
        block = Block.joined([_read(file, number, part, label) for label, number in groups.items()], dimensions)
    block = block.taken(np.argsort(block.index, kind="stable"))
    if not np.array_equal(block.index, np.arange(part.first, part.first + part.rows)):
        raise InputError(
            f"{folder / part.file} does not have the rows {part.first:,} to {part.first + part.rows - 1:,}."
        )
    return block


def read_labels(folder: Path, part: Part, dimensions: int) -> np.ndarray:
    """(n,) int64, the classes of the rows of a part; their embeddings are not read.

    Raises:
        InputError: see `read_block`.
    """
    import pyarrow as pa

    with _opened(folder / part.file) as file:
        _groups(file, folder / part.file, part, dimensions)
        try:
            table = file.read(columns=["index", "label"])
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{part.file} is damaged ({error}).") from error
    index, labels = table["index"].to_numpy(), table["label"].to_numpy().astype(np.int64)
    order = np.argsort(index, kind="stable")
    if not np.array_equal(index[order], np.arange(part.first, part.first + part.rows)):
        raise InputError(f"{folder / part.file} is damaged: its rows are not those that the manifest says.")
    if not np.array_equal(np.bincount(labels[labels >= 0], minlength=len(part.counts)), part.counts):
        raise InputError(f"{folder / part.file} is damaged: its classes are not those that the manifest says.")
    return labels[order]


def read_class(folder: Path, part: Part, dimensions: int, label: int) -> Block:
    """The rows of one class of a part, of which nothing else is read; none where the class does not occur.

    Raises:
        InputError: see `read_block`.
    """
    if not part.counts[label]:
        return Block.joined([], dimensions)
    with _opened(folder / part.file) as file:
        return _read(file, _groups(file, folder / part.file, part, dimensions)[label], part, label)


def _opened(path: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path} is missing: the sharded embedding is incomplete. Copy the whole folder.")
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged or not a parquet file ({error}).") from error


def _groups(file: pq.ParquetFile, path: Path, part: Part, dimensions: int) -> dict[int, int]:
    """The row group of each class that occurs, after a check that reading them takes the memory it should."""
    metadata, schema = file.metadata, file.schema_arrow
    wanted = _schema(dimensions)
    if not schema.equals(wanted):
        raise InputError(f"{path} has other columns than a part of {dimensions} dimensions: {', '.join(schema.names)}.")
    groups = {label: number for number, label in enumerate(np.flatnonzero(part.counts).tolist())}
    expected = [part.counts[label] for label in groups]
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if sizes != expected:
        raise InputError(f"{path} has row groups of other sizes than the manifest says.")
    values = len(COLUMNS)
    for number, rows in enumerate(expected):
        column = metadata.row_group(number).column(values)
        if (
            column.num_values != rows * dimensions
            or column.total_uncompressed_size > 2 * (4 * rows * dimensions) + 2**16
        ):
            raise InputError(f"{path} is damaged: its embeddings have another size than its header says.")
    return groups


def _read(file: pq.ParquetFile, number: int, part: Part, label: int) -> Block:
    import pyarrow as pa

    try:
        table = file.read_row_group(number)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{part.file} is damaged ({error}).") from error
    rows, columns = table.num_rows, {name: table[name].to_numpy() for name in COLUMNS}
    z = np.concatenate([chunk.flatten().to_numpy() for chunk in table["z"].chunks]).reshape(rows, -1)
    block = Block(columns["index"], z, columns["label"].astype(np.int64), columns["black_box"].astype(np.int64))
    _check(block, len(part.counts))
    if (block.labels != label).any():
        raise InputError(f"{part.file} is damaged: a row group of class {label} has rows of other classes.")
    return block
