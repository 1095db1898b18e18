"""Image data sets in parquet and Arrow files: a column of encoded images, as Hugging Face's or plain binary."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.columns import NAME_IT, class_by_name, image_column
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.sources.rows import OUT_OF_SCOPE, Rows, Stored, feature_kinds, load_rows
from kmex_core.data.splits import SPLITS, Layout
from kmex_core.data.tables import check_names


class _Bytes(Sequence[bytes]):
    """The encoded images of an Arrow column by row, where they lie: in memory, or in a mapped file."""

    def __init__(self, chunks: Sequence[Any]) -> None:
        self._chunks = [chunk for chunk in chunks if len(chunk)]
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks]).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        at = bisect.bisect_right(self._ends, index)
        value = self._chunks[at][index - (self._ends[at - 1] if at else 0)]
        return bytes(value.as_buffer()) if value.is_valid else b""


def load_parquet(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """A folder with parquet files for each split, whose encoded images are held in memory, see `load_rows`.

    The column of images is `image`, or the only one that Hugging Face's metadata declares as images, or that is a
    struct{bytes, path}, or binary; `spec.image_column` names another. The class is `label`, or the only column that is
    declared as a class, or has such a name; `spec.class_column` names another.

    Args:
        spec: `root` is the folder.
        layout: its splits.
        progress: called while images are checked for the first time.

    Raises:
        InputError: for files that are not parquet, have no such columns or several; see `load_rows`.
    """
    files = {split: layout.places[split] for split in SPLITS if split in layout.places}
    return _load(spec, layout, "parquet", files, progress)


def load_arrow(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """A folder that `save_to_disk` of Hugging Face's `datasets` wrote; the images stay in its files, see `load_rows`.

    Args:
        spec: `root` is the folder; columns as for `load_parquet`.
        layout: its splits, each a folder with `state.json`.
        progress: called while images are checked for the first time.

    Raises:
        InputError: for files that are missing or not Arrow's; see `load_parquet`.
    """
    files = {split: _arrow_files(layout.places[split][0]) for split in SPLITS if split in layout.places}
    return _load(spec, layout, "arrow", files, progress)


def _load(
    spec: DatasetSpec, layout: Layout, kind: str, files: dict[str, list[Path]], progress: Progress
) -> ImageDataset:
    class_column = "" if spec.class_column == "label" else spec.class_column
    first = files["train"][0]
    schema = _schema(first, kind)
    check_names(schema.names, str(first))
    images = image_column(_image_kinds(schema), str(first), spec.image_column)
    plain = [field.name for field in schema if field.name != images and is_plain(field.type)]
    if not class_column and "label" in schema.names:
        _check_label(schema.field("label").type, first)
    elif not class_column:
        class_column = _class_column(schema, plain, first)
    rows = {split: _rows(paths, kind, images, plain) for split, paths in files.items()}
    marks = () if images == "image" else (f"images {images}",)
    return load_rows(spec, layout, Stored(kind, f"{kind} files", files, marks), rows, class_column, progress)


def _schema(path: Path, kind: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path) if kind == "parquet" else _mapped(path).schema
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as {kind} ({error}).") from error


def _image_kinds(schema: Any) -> dict[str, str]:
    """What makes each column likely to be the images, see `columns.image_column`."""
    import pyarrow.types as types

    kinds = {}
    for field in schema:
        if types.is_struct(field.type) and "bytes" in [part.name for part in field.type]:
            kinds[field.name] = "struct"
        elif types.is_binary(field.type) or types.is_large_binary(field.type):
            kinds[field.name] = "binary"
        else:
            kinds[field.name] = ""
            continue
        if feature_kinds(schema.metadata).get(field.name) == "Image":
            kinds[field.name] = "declared"
    return kinds


def _class_column(schema: Any, plain: list[str], path: Path) -> str:
    """The column that is the class of a table without a column `label`."""
    declared = feature_kinds(schema.metadata)
    named = [name for name in plain if declared.get(name) == "ClassLabel"] or class_by_name(plain)
    if not named and len(plain) == 1:
        named = plain  # there is no other; whether its values can be classes is found out when they are read
    if len(named) == 1:
        return named[0]
    if named:
        raise InputError(
            f"{path} has no column 'label', and {len(named)} columns that may be the class: {first_few(named, 12)}. "
            f"{NAME_IT} {named[0]}, for example."
        )
    raise InputError(
        f"{path} has no column 'label'. Name the column that is the class (--class); it has: "
        f"{', '.join(plain[:60]) or 'no other columns'}."
    )


def _rows(paths: list[Path], kind: str, images: str, plain: list[str]) -> Rows:
    """The rows of a split's files: the images, and every column that may be an attribute or the class."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [images, *plain]
    try:
        if kind == "parquet":
            table = pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])
        else:
            table = pa.concat_tables([_mapped(path).read_all().select(columns) for path in paths])
            table.validate(full=True)  # offsets from a file are not to be trusted
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"{paths[0]} cannot be read as {kind} ({error}).") from error
    column = table[images]
    kinds, struct = column.type, pa.types.is_struct(column.type)
    names = [field.name for field in kinds] if struct else []
    if not struct and not pa.types.is_binary(kinds) and not pa.types.is_large_binary(kinds):
        raise InputError(f"{paths[0]}: column '{images}' is {kinds}; expected struct{{bytes, path}}.")
    if struct and "bytes" not in names:
        raise InputError(f"{paths[0]}: column '{images}' is {kinds}; expected struct{{bytes, path}}.")
    try:
        # 64-bit offsets, so that more than 2 GB of images fit in one column
        encoded = [(chunk.field("bytes") if struct else chunk).cast(pa.large_binary()) for chunk in column.chunks]
        named = [chunk.field("path").cast(pa.large_string()) for chunk in column.chunks] if "path" in names else None
    except pa.ArrowException as error:
        raise InputError(
            f"{paths[0]}: column '{images}' is {kinds}; expected struct{{bytes, path}} ({error})."
        ) from error

    def image_paths() -> list[str]:
        assert named is not None
        return [str(path or "") for chunk in named for path in chunk.to_pylist()]

    return Rows(_Bytes(encoded), table.drop_columns([images]), None if named is None else image_paths)


def _mapped(path: Path) -> Any:
    """A reader of a file with an Arrow stream (`datasets` writes them) or in Arrow's file format, mapped to memory."""
    import pyarrow as pa

    source = pa.memory_map(str(path))
    if source.read(6) == b"ARROW1":
        return pa.ipc.open_file(source)
    source.seek(0)
    return pa.ipc.open_stream(source)


def _arrow_files(folder: Path) -> list[Path]:
    """The files that `state.json` lists.

    Raises:
        InputError: when it cannot be read, one is missing, or is not in the folder.
    """
    try:
        state = read_json((folder / "state.json").read_text(encoding="utf-8"))
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder / 'state.json'} does not list the data files ({error}).") from error
    if state.get("_indices_data_files"):
        raise InputError(
            f"{folder} stores a selection of rows (_indices_data_files). Save it again: flatten_indices()."
        )
    files = [folder / name for name in names]
    for name, path in zip(names, files, strict=True):
        if Path(name).name != name or not path.is_file():
            raise InputError(f"{folder} is incomplete: its state.json lists '{name}', which is not in the folder.")
    if not files:
        raise InputError(f"{folder} has no data files: its state.json lists none.")
    return files


def _check_label(kind: Any, path: Path) -> None:
    import pyarrow.types as types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        raise InputError(
            f"{path}: column 'label' holds lists, several labels per image. {OUT_OF_SCOPE} Multi-label data are not "
            "supported; name a column that is the class (--class)."
        )
    if not is_plain(kind):
        raise InputError(
            f"{path}: column 'label' is {kind}; expected integers, truth values or texts, one class per image."
        )


def is_plain(kind: Any) -> bool:
    """Whether values of an Arrow type may be attributes or classes."""
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
