"""Data sets in WebDataset's tar files: pictures and what is known of each under one key, read where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.phrases import first_few
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.columns import NAME_IT, class_by_name
from kmex_core.data.content import known_fact
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.files import file_digests
from kmex_core.data.listing import FileState, state_of
from kmex_core.data.pictures import SUFFIXES
from kmex_core.data.sources.rows import Rows, Stored, load_rows
from kmex_core.data.splits import SPLITS, Layout
from kmex_core.data.tar import CLASS, JSON, TEXT, decompressed, key_of, members

MOST_TEXT = 1 << 16  # bytes of a label or of what is known of a picture


class _Members(Sequence[bytes]):
    """Encoded images in tar files, read at their offsets.

    Args:
        files: the tar files, as they were indexed.
        places: (N, 3) int64: file, offset, size.
    """

    def __init__(self, files: Sequence[FileState], places: np.ndarray) -> None:
        self._files = files
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        number, offset, size = map(int, self._places[index])
        file = self._files[number]
        if not file.unchanged():
            raise InputError(f"{file.path} has changed or been removed since the data set was opened. Try again.")
        with file.path.open("rb") as opened:
            opened.seek(offset)
            return opened.read(size)


@dataclass
class _Index:
    """The images of a split: where they are, their keys, and what is known of each."""

    places: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    known: list[dict[str, str]] = field(default_factory=list)
    alone: int = 0


def load_shards(spec: DatasetSpec, layout: Layout, progress: Progress = silent) -> ImageDataset:
    """Tar files of WebDataset for each split, indexed once and not unpacked.

    A picture's class is in `key.cls`; else it is a field of `key.json` (one with a name such as "label", or
    `spec.class_column`), or `key.txt`. Further fields of the JSON are attributes.

    Args:
        spec: `root` is the folder.
        layout: "shards", with its splits.
        progress: called while the files are indexed and images are checked for the first time.

    Raises:
        InputError: for a damaged tar file, pictures without a class, or several fields that may be it.
    """
    import pyarrow as pa

    files = {split: layout.places[split] for split in SPLITS if split in layout.places}
    indices = {split: _indexed(paths, progress) for split, paths in files.items()}
    fields = list(dict.fromkeys(name for index in indices.values() for known in index.known for name in known))
    first = layout.places["train"][0]
    column = spec.class_column or _class_field(fields, [known for of in indices.values() for known in of.known], first)
    rows = {}
    for split, index in indices.items():
        states = [state_of(path, path.name) for path in files[split]]
        places = np.array(index.places, dtype=np.int64).reshape(-1, 3)
        values = {name: _column([known.get(name) for known in index.known]) for name in fields}
        if column in (CLASS, TEXT):
            values["label"] = values.pop(column)
        rows[split] = Rows(_Members(states, places), pa.table(values), _Keys(index.keys))
    class_column = "" if column in (CLASS, TEXT, "label") else column
    alone = sum(index.alone for index in indices.values())
    notes = (
        (f"{alone:,} members of the tar files have no picture with the same key and are left out.",) if alone else ()
    )
    return load_rows(
        spec,
        replace(layout, notes=(*layout.notes, *notes)),
        Stored("shards", "tar files", files, (column,)),
        rows,
        class_column,
        progress,
    )


class _Keys:
    """The names of pictures, for a table of attributes beside the tar files."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys

    def __call__(self) -> list[str]:
        return self._keys


def _column(values: list[str | None]) -> Any:
    """An Arrow column of texts, or of integers where all are, so that they are sorted as numbers."""
    import pyarrow as pa

    texts = [None if value is None else value.strip() for value in values]
    if all(text is None or (text.removeprefix("-").isdecimal() and len(text) < 18) for text in texts):
        return pa.array([None if text is None else int(text) for text in texts], pa.int64())
    return pa.array(texts, pa.string())


def _class_field(fields: list[str], known: list[dict[str, str]], first: Path) -> str:
    """What is the class of each picture."""
    if CLASS in fields:
        return CLASS
    named = class_by_name(fields)
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        raise InputError(
            f"{first} has {len(named)} fields that may be the class: {first_few(named, 12)}. {NAME_IT} {named[0]}, for "
            "example."
        )
    texts = [of[TEXT] for of in known if TEXT in of]
    if texts and len(set(texts)) <= len(texts) // 2:
        return TEXT
    raise InputError(
        f"{first} has no classes: expected key.cls, a field such as 'label' in key.json, or key.txt with texts that "
        f"recur; found: {first_few(fields, 12) or 'pictures alone'}. {NAME_IT} FIELD."
    )


def _indexed(paths: Sequence[Path], progress: Progress) -> _Index:
    """The index of some tar files, made once for their content."""
    index = _Index()
    for number, (path, digest) in enumerate(
        zip(paths, file_digests([(p, p.name) for p in paths], progress), strict=True)
    ):
        progress(Event("Indexing tar files", number, len(paths)))
        known: Any = known_fact(f"shard-1-{digest.hex()}", lambda path=path: _index_of(path))  # type: ignore[misc]
        index.places += [(number, int(offset), int(size)) for offset, size in known["places"]]
        index.keys += [str(key) for key in known["keys"]]
        index.known += [dict(of) for of in known["known"]]
        index.alone += int(known["alone"])
    progress(Event("Indexing tar files", len(paths), len(paths)))
    return index


def _index_of(path: Path) -> dict[str, Any]:
    """The pictures of a tar file in order: offset and size, key, and what is known of each."""
    pictures: dict[str, tuple[int, int]] = {}
    known: dict[str, dict[str, str]] = {}
    with decompressed(path) as source:
        for archive, member in members(source, str(path)):
            key, kind = key_of(member.name)
            if not member.isreg() or member.issparse():
                continue
            if kind in SUFFIXES:
                if key in pictures:
                    raise InputError(f"{path} has two pictures with the key '{key}'.")
                pictures[key] = (member.offset_data, member.size)
            elif kind in (CLASS, TEXT, JSON):
                if member.size > MOST_TEXT:
                    raise InputError(
                        f"{path}: '{member.name}' has {member.size:,} bytes; expected a label or a few fields."
                    )
                extracted = archive.extractfile(member)
                content = extracted.read() if extracted is not None else b""
                known.setdefault(key, {}).update(_fields(kind, content, f"'{member.name}' of {path}"))
    if not pictures:
        raise InputError(f"{path} has no pictures with keys, such as 0001.jpg beside 0001.cls.")
    return {
        "places": list(pictures.values()),
        "keys": list(pictures),
        "known": [known.get(key, {}) for key in pictures],
        "alone": len(known.keys() - pictures.keys()),
    }


def _fields(kind: str, content: bytes, where: str) -> dict[str, str]:
    try:
        text = content.decode("utf-8-sig")
        if kind != JSON:
            return {kind: text.strip()}
        values = read_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} cannot be read ({error}).") from error
    if not isinstance(values, dict):
        return {}
    plain = {str(name): value for name, value in values.items() if isinstance(value, str | int | float)}
    return {name: str(value) for name, value in plain.items() if name not in (CLASS, TEXT)}
