"""Versions: edited prototypes that people saved, each a small JSON file.

A version belongs to the weights of a model, whatever the model is called. What a file says is checked when it is read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kmex_core.base.errors import InputError, StoreError, unknown_name
from kmex_core.base.files import regular_files, remove_file, write_bytes
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.provenance import __version__
from kmex_core.base.specs import stable_key
from kmex_core.base.store import Store, demand_writable
from kmex_core.models import catalogue
from kmex_core.prototypes.metric import OPTIONS
from kmex_core.prototypes.operations import MOST_NAME, MOST_NOTE, Operation, described, operations_from
from kmex_core.prototypes.source import SUGGESTED, BuiltIn, KMeans, PrototypeSource, Version
from kmex_core.stages.edits import edits_of
from kmex_core.stages.subject import Subject

ROOM = "versions"
FILES = re.compile(r"[0-9a-f]{20}\.json")
MOST = 8 * 2**20  # bytes of a file
NO_VERSION = "None"  # what the sidebar calls the prototypes that nobody edited


@dataclass(frozen=True)
class Saved:
    """A version as it was saved.

    Attributes:
        version: the edited prototypes.
        model: the model's name when it was saved.
        weights: the fingerprint of the model's weights.
        note: what people wrote about it.
        created: when it was saved, in seconds since 1970.
        product: the version of KMEx Explorer that saved it.
        scores: what the edits did to predictions then, see `analysis.edit_scores.EditScores.described`.
    """

    version: Version
    model: str
    weights: str
    note: str = ""
    created: float = 0.0
    product: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)


def save(
    subject: Subject, name: str, source: PrototypeSource, operations: Sequence[Operation], note: str = ""
) -> Saved:
    """Save edits as a version.

    Args:
        subject: the model.
        name: any text that no other version of this model has.
        source: what was edited, see `edits.edits_of`.
        operations: what was done to it.
        note: any text.

    Raises:
        InputError: for a name that is taken or cannot be used, edits that are not possible or none, and when the store
            is read-only.
        StoreError: when it cannot be written.
    """
    demand_writable("A version cannot be saved")
    name, note = checked_name(name), _checked_note(note)
    if not operations:
        raise InputError("Nothing was edited yet, so there is no version to save.")
    edits = edits_of(subject, source, operations)
    version = Version(name, edits.base, edits.operations, subject.conversion(edits.base).key)
    saved = Saved(
        version,
        subject.info.name,
        subject.weights,
        note,
        time.time(),
        __version__,
        edits.scores().described(),
    )
    _write(subject.store, saved)
    return saved


def checked_name(name: str) -> str:
    """The name of a version, with single spaces.

    Raises:
        InputError: when it is empty or too long, is that of no version, or has characters that are no text.
    """
    short = " ".join(name.split())
    if not short or len(short) > MOST_NAME or short == NO_VERSION or "\0" in short or not _is_text(short):
        raise InputError(f"Name the version with 1 to {MOST_NAME} characters, other than '{NO_VERSION}'.")
    return short


def _checked_note(note: str) -> str:
    if len(note) > MOST_NOTE or "\0" in note or not _is_text(note):
        raise InputError(f"A note is a text of at most {MOST_NOTE:,} characters.")
    return note.strip()


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write(store: Store, saved: Saved) -> None:
    """Write a version that is new.

    Raises:
        InputError: when there is one of its name.
    """
    path = _path(store, saved.weights, saved.version.name)
    with store.locked(ROOM, path.stem):
        if path.exists() or path.is_symlink():
            raise InputError(f"There is a version '{saved.version.name}' of this model already. Choose another name.")
        content = write_json(_described(saved)).encode()
        if len(content) > MOST:
            raise InputError(f"That is more than a version can keep ({MOST >> 20} MB). Shorten the notes.")
        write_bytes(path, content)


def _path(store: Store, weights: str, name: str) -> Path:
    # a digest: any text is a name, and names that differ in case only are different files everywhere
    return store.root / ROOM / f"{stable_key([weights, name])}.json"


def _described(saved: Saved) -> dict[str, Any]:
    values = {name: getattr(saved, name) for name in ("model", "weights", "note", "created", "product")}
    version = saved.version
    return values | {
        "name": version.name,
        "base": asdict(version.base),
        "base_key": version.base_key,
        "operations": described(version.operations),
        "scores": dict(saved.scores),
    }


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_file(path: Path) -> Saved:
    """A version from its file.

    Raises:
        StoreError: when it is no version, or is damaged.
    """
    try:
        if path.is_symlink() or path.stat().st_size > MOST:
            raise InputError("it is no file of a version")
        saved = _sound(read_json(path.read_bytes()))
        if path.stem != stable_key([saved.weights, saved.version.name]):
            raise InputError("it does not match its name")
    except (OSError, ValueError, RecursionError) as error:  # InputError is a ValueError
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise StoreError(f"The version in {path} cannot be read: {reason}") from error
    return saved


def _sound(values: Any) -> Saved:
    """A version of what a file says.

    Raises:
        InputError: when it says something that no version does.
    """
    if not isinstance(values, dict):
        raise InputError("it is not a JSON object")
    texts: dict[str, str] = {}
    for name in ("model", "weights", "base_key", "note", "product", "name"):
        text = values.get(name)
        if not isinstance(text, str) or len(text) > MOST_NOTE or not _is_text(text):
            raise InputError(f"'{name}' is not a text")
        texts[name] = text
    created, scores = values.get("created"), values.get("scores")
    if not isinstance(created, int | float) or isinstance(created, bool) or not 0 <= created < 2**37:
        raise InputError("'created' is not a time")
    if not isinstance(scores, dict):
        raise InputError("'scores' is not an object")
    operations = operations_from(values.get("operations"))
    name, base_key = checked_name(texts.pop("name")), texts.pop("base_key")
    version = Version(name, _base(values.get("base")), operations, base_key)
    return Saved(version, created=float(created), scores=scores, **texts)


def _base(values: Any) -> KMeans:
    if not isinstance(values, dict) or values.keys() != {"k", "seed", "metric"}:
        raise InputError("'base' does not name the prototypes that were edited")
    k, seed, metric = values["k"], values["seed"], values["metric"]
    numbers = type(k) is int and type(seed) is int and (k == SUGGESTED or 1 <= k <= 1000) and 0 <= seed < 2**32
    if not numbers or metric not in OPTIONS:
        raise InputError("'base' does not name the prototypes that were edited")
    return KMeans(k, seed, metric)


def versions_of(store: Store, model: str) -> tuple[list[Saved], list[str]]:
    """The versions of a model, the oldest first, and a message for each file that cannot be read.

    Raises:
        InputError: for an unknown model.
        StoreError: when the model is damaged.
    """
    weights = catalogue.weights_key(store, model)
    found, damaged = [], []
    for path in regular_files(store.root / ROOM, FILES):
        try:
            saved = read_file(path)
        except StoreError as error:
            damaged.append(str(error))
            continue
        if saved.weights == weights:
            found.append(saved)
    return sorted(found, key=lambda saved: (saved.created, saved.version.name)), damaged


def of_gone_models(store: Store, weights: Collection[str]) -> Iterator[tuple[Path, str]]:
    """The files of versions that belong to none of these models, with the reason why nobody needs them."""
    for path in regular_files(store.root / ROOM, FILES):
        try:
            if read_file(path).weights not in weights:
                yield path, "of a model that is gone"
        except StoreError:
            continue  # `verify` tells of it


def read(store: Store, model: str, name: str) -> Saved:
    """A version of a model.

    Raises:
        InputError: for an unknown model or version; the message names similar ones.
        StoreError: when its file is damaged.
    """
    path = _path(store, catalogue.weights_key(store, model), " ".join(name.split()))
    if not path.is_file():
        names = [saved.version.name for saved in versions_of(store, model)[0]]
        raise unknown_name("version", name[:MOST_NAME], names, "Versions are saved on the page Explore.")
    return read_file(path)


def version_of(subject: Subject, name: str) -> Version:
    """A version of a model as a source of prototypes.

    Raises:
        InputError: for an unknown one, or one whose edits do not fit the prototypes any more.
        StoreError: when its file is damaged.
    """
    version = read(subject.store, subject.info.name, name).version
    subject.conversion(version).check()
    return version


def source_of(
    subject: Subject, k: int, seed: int, metric: str, built_in: bool = False, version: str = ""
) -> PrototypeSource:
    """A source as options choose it: a version by its name, else built-in prototypes, else k-means.

    Raises:
        InputError: for built-in prototypes and a version, or see `version_of`.
    """
    if not version:
        return BuiltIn() if built_in else KMeans(k, seed, metric)
    if built_in:
        raise InputError("--own and --version exclude each other: a version is of KMEx's prototypes.")
    return version_of(subject, version)


def usable_versions(subject: Subject) -> list[Version]:
    """The versions of a model that fit its prototypes as they are now, the oldest first."""
    found, _ = versions_of(subject.store, subject.info.name)
    return [saved.version for saved in found if saved.version.base_key == subject.conversion(saved.version.base).key]


# ---- changing --------------------------------------------------------------------------------------------------------


def rename(store: Store, model: str, name: str, new: str) -> Saved:
    """Rename a version.

    Raises:
        InputError: for an unknown one, a name that is taken or cannot be used, and when the store is read-only.
        StoreError: when it cannot be written.
    """
    demand_writable("A version cannot be renamed")
    before = read(store, model, name)
    renamed = replace(before, version=replace(before.version, name=checked_name(new)))
    _write(store, renamed)
    _remove(store, before)
    return renamed


def delete(store: Store, model: str, name: str) -> None:
    """Delete a version, also a damaged one.

    Raises:
        InputError: for an unknown one, and when the store is read-only.
        StoreError: when it cannot be deleted.
    """
    demand_writable("A version cannot be deleted")
    weights = catalogue.weights_key(store, model)
    path = _path(store, weights, " ".join(name.split()))
    if not path.is_file():
        read(store, model, name)  # names similar ones
    _unlink(store, path)


def _remove(store: Store, saved: Saved) -> None:
    _unlink(store, _path(store, saved.weights, saved.version.name))


def _unlink(store: Store, path: Path) -> None:
    with store.locked(ROOM, path.stem):
        try:
            remove_file(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be deleted: {error.strerror or error}.") from error
