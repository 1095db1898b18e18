"""Drafts: a model that is being brought to the store on a page, kept so that nothing is lost on a reload.

A draft is a small JSON file that its page names in its address. What a file says is checked when it is read: it decides
what is shown and asked for, never what may be opened.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kmex_core.base.errors import InputError
from kmex_core.base.files import regular_files, remove_file, write_bytes, write_stream
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.specs import DatasetSpec, stable_key
from kmex_core.base.store import Store, demand_writable
from kmex_core.data import uploads
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.prototypes.source import SUGGESTED
from kmex_core.stages.new_model import AUTO, NONE, NewRequest

ROOM = "drafts"
KEPT = 30 * 24 * 3600.0  # seconds after the last change
MOST = 2 * 2**20  # bytes of a draft
MOST_TEXT, MOST_OUTPUTS = 4096, 30_000
FILES = re.compile(r"[0-9a-f]{12}\.json|classes-[0-9a-f]{20}\.txt|preprocessing-[0-9a-f]{20}\.json")
_ID = re.compile(r"[0-9a-f]{12}")
_UPLOAD = re.compile(r"draft-([0-9a-f]{12})-[0-9a-f]{8}\.weights")


@dataclass(frozen=True)
class Draft:
    """A model that is being brought. Empty texts are what was not said yet, or is left to be found.

    Attributes:
        images, class_column, image_column, skip_broken: the data set, see `DatasetSpec`.
        model: the network, see `NewRequest.model`.
        weights: a file with its weights; "" for those of its source.
        weights_name: what that file was called by whoever uploaded it.
        head: see `NewRequest.head`.
        encoder: whether it is used without its classes.
        classes: names of all outputs in order, see `NewRequest.classes`; empty to have them found.
        preprocess: `AUTO`, "imagenet", or "" where `preprocessing` says it.
        preprocessing: what a person said it is.
        decision: the job that has last decided about these images and this network.
        name: of the model in the store.
        k: prototypes per class, or `SUGGESTED`.
    """

    images: str = ""
    class_column: str = ""
    image_column: str = ""
    skip_broken: bool = False
    model: str = ""
    weights: str = ""
    weights_name: str = ""
    head: str = ""
    encoder: bool = False
    classes: tuple[str, ...] = ()
    preprocess: str = AUTO
    preprocessing: Preprocessing | None = None
    decision: str = ""
    name: str = ""
    k: int = 5

    @property
    def spec(self) -> DatasetSpec:
        """The data set."""
        return DatasetSpec(self.images, "", 0, self.class_column, self.skip_broken, self.image_column)

    @property
    def about(self) -> str:
        """What names its images and its network."""
        return stable_key([dataclasses.asdict(self.spec), self.model, self.weights])[:12]


def new_id() -> str:
    """What names a new draft."""
    return secrets.token_hex(6)


def is_id(text: str) -> bool:
    """Whether a text can name a draft."""
    return _ID.fullmatch(text) is not None


def read(store: Store, name: str) -> Draft | None:
    """A draft; None if there is none of this name, or its file is not a draft."""
    path = _path(store, name)
    try:
        if path.is_symlink() or path.stat().st_size > MOST:
            return None
        return _sound(read_json(path.read_bytes()))
    except (OSError, ValueError, RecursionError):  # InputError is a ValueError
        return None


def change(store: Store, name: str, /, **values: Any) -> Draft:
    """Change some of what a draft says; the rest stays as its file has it now, whoever wrote that.

    Raises:
        InputError: for what no draft says, and when the store is read-only.
        StoreError: when it cannot be written.
    """
    demand_writable("What you enter here cannot be kept")
    draft = dataclasses.replace(read(store, name) or Draft(), **values)
    described = dataclasses.asdict(draft)
    content = write_json(described).encode()
    _sound(read_json(content))
    if len(content) > MOST:
        raise InputError(f"That is more than a draft can keep ({MOST // 2**20} MB).")
    write_bytes(_path(store, name), content, durable=False)
    return draft


def _path(store: Store, name: str) -> Path:
    if not is_id(name):
        raise InputError(f"'{name[:80]}' names no draft.")
    return store.root / ROOM / f"{name}.json"


def _sound(described: Any) -> Draft:
    """A draft of what a file says.

    Raises:
        InputError: when it says something that no draft does.
    """
    if not isinstance(described, dict):
        raise InputError("A draft is a JSON object.")
    usual = Draft()
    values = {}
    for entry in dataclasses.fields(Draft):
        value = described.get(entry.name, getattr(usual, entry.name))
        if entry.name == "classes":
            fits = isinstance(value, list | tuple) and len(value) <= MOST_OUTPUTS and all(map(_is_text, value))
            value = tuple(value) if fits else value
        elif entry.name == "preprocessing":
            fits = value is None or isinstance(value, dict)
            value = Preprocessing.from_description(value) if isinstance(value, dict) else None
        elif entry.name == "k":
            fits = type(value) is int and (value == SUGGESTED or 1 <= value <= 1000)
        elif isinstance(getattr(usual, entry.name), bool):
            fits = isinstance(value, bool)
        else:
            fits = _is_text(value)
        if not fits:
            raise InputError(f"A draft cannot say this of its {entry.name}.")
        values[entry.name] = value
    return Draft(**values)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT and "\0" not in value


# ---- what a draft asks for -------------------------------------------------------------------------------------------


def request(store: Store, draft: Draft, images: DatasetSpec) -> NewRequest:
    """What a draft asks for. Names of outputs and a preprocessing go into files of the store, named by their content.

    Args:
        store: where.
        draft: whose data set and files may be opened, which whoever asks has made sure of.
        images: its data set, as it may be opened.

    Raises:
        StoreError: when the store cannot be written.
    """
    classes, preprocess = NONE if draft.encoder else AUTO, draft.preprocess or AUTO
    if draft.classes and not draft.encoder:
        lines = "\n".join(" ".join(name.split()) for name in draft.classes)
        classes = str(_written(store, f"classes-{stable_key(lines)}.txt", lines))
    if draft.preprocessing is not None and not draft.preprocess:
        described = dataclasses.asdict(draft.preprocessing)
        preprocess = str(_written(store, f"preprocessing-{stable_key(described)}.json", write_json(described)))
    weights = Path(draft.weights) if draft.weights else None
    return NewRequest(draft.name, draft.model, images, weights, draft.head, classes, preprocess)


def _written(store: Store, name: str, text: str) -> Path:
    demand_writable("What you enter here cannot be kept")
    path = store.root / ROOM / name
    content = text.encode("utf-8", "replace")
    if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
        os.utime(path)  # in use
    else:
        write_bytes(path, content, durable=False)
    return path


def upload_weights(store: Store, name: str, file: BinaryIO) -> Path:
    """Keep an uploaded file of weights for a draft, in place of those that were uploaded for it before.

    Raises:
        InputError: when the store is read-only.
        StoreError: when it cannot be written.
    """
    demand_writable("The file cannot be kept")
    _path(store, name)
    path = store.root / uploads.ROOM / f"draft-{name}-{secrets.token_hex(4)}.weights"
    write_stream(path, file)
    for earlier in _uploads_of(store, name):
        if earlier != path:
            remove_file(earlier)
    return path


def is_upload_of(store: Store, name: str, weights: str) -> bool:
    """Whether a file is one that was uploaded for this draft, and is still there."""
    return Path(weights) in _uploads_of(store, name)


def _uploads_of(store: Store, name: str) -> list[Path]:
    files = regular_files(store.root / uploads.ROOM, _UPLOAD)
    return [path for path in files if (match := _UPLOAD.fullmatch(path.name)) and match[1] == name]


# ---- upkeep ----------------------------------------------------------------------------------------------------------


def needless(store: Store) -> Iterator[Path]:
    """Drafts, and what they asked for, that nobody has changed or used for `KEPT` seconds."""
    for path in regular_files(store.root / ROOM, FILES):
        if time.time() - path.stat().st_mtime > KEPT:
            yield path


def is_awaited(store: Store, path: Path) -> bool:
    """Whether an upload belongs to a draft that is kept."""
    match = _UPLOAD.fullmatch(path.name)
    return match is not None and _path(store, match[1]).is_file()
