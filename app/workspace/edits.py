"""What edits of prototypes make of a layer, and versions that are saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.workspace.answer import Answer, Asked, Gone, json_answer, with_header
from app.workspace.layers import NONE, prototype_columns
from app.workspace.sources import source_of, source_text
from kmex_core.base import cores
from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.store import demand_writable
from kmex_core.prototypes.operations import Operation, operations_from
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.stages.edits import Edits, edits_of
from kmex_core.stages.subject import Subject
from kmex_core.stages.versions import save

MOST_SENT = 4 * 2**20  # bytes of edits


def edits(subject: Subject, asked: Asked) -> Answer:
    """A layer as `layers.packed_layer`'s, of the prototypes after edits, with their scores.

    Its header also has `prototypes.index`, by which edits name each prototype, and `empty`, the classes without any.
    The body is a JSON object: `base`, the text of a source, and `operations`, see `operations_from`.
    """
    demand_writable("Prototypes cannot be edited")
    said = _body(asked)
    source, operations = _edited(subject, said)
    if not subject.embedding_map().exists():
        raise Gone("There is no embedding map yet. Reload the page.")
    with cores.shared():
        return Answer(_packed(subject, str(said["base"]), edits_of(subject, source, operations)), lasting=False)


def versions(subject: Subject, asked: Asked) -> Answer:
    """Save a version. The body is as in `edits`, with `name` and `note`; the answer's `source` names the version."""
    said = _body(asked)
    name, note = said.get("name"), said.get("note", "")
    if not isinstance(name, str) or not isinstance(note, str):
        raise InputError("A version needs a name, and its note is a text.")
    source, operations = _edited(subject, said)
    with cores.shared():
        saved = save(subject, name, source, operations, note)
    return json_answer({"source": source_text(saved.version), "name": saved.version.name}, lasting=False)


def _body(asked: Asked) -> Mapping[str, Any]:
    try:
        said = read_json(asked.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("base"), str):
        raise InputError('Expected a JSON object with "base", the prototypes that are edited, and "operations".')
    return said


def _edited(subject: Subject, said: Mapping[str, Any]) -> tuple[PrototypeSource, tuple[Operation, ...]]:
    return source_of(said["base"], subject), operations_from(said.get("operations"))


def _packed(subject: Subject, text: str, of: Edits) -> bytes:
    session, after, before = of.session, of.after, of.before
    prototypes, projection = session.prototypes(after), subject.read(subject.embedding_map())
    accuracy, agreement = session.accuracy(after)
    shown, known = after.shown.tolist(), before.shown.tolist()
    # as the sender numbers them: those that were shown first, then new ones
    number = {p: place for place, p in enumerate(known)}
    index = [number.get(p, len(known) + p - len(before)) for p in shown]
    embedded = session.conversion.metric.back(prototypes.centers)
    header = {
        "source": text,
        "prototypes": prototype_columns(projection, prototypes, embedded, [NONE] * len(prototypes)) | {"index": index},
        "summary": {
            "accuracy": accuracy,
            "black_box": session.conversion.summary.accuracy_black_box,
            "agreement": agreement,
            "ghosting": float(prototypes.ghost.mean()),
            "test_images": session.conversion.summary.images,
        },
        "scores": of.scores().described(),
        "empty": after.empty_classes(len(subject.info.class_names)),
    }
    predicted, nearest = session.predicted(after), session.activated(after)
    return with_header(header, {"predicted": predicted.astype(np.uint16), "nearest": nearest.astype(np.uint16)})
