"""What a workspace makes of edits that are sent to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from app.workspace import catalogue
from app.workspace.answer import Asked
from app.workspace.sources import source_of, source_text
from kmex_core.base.errors import InputError
from kmex_core.base.jsontext import read_json
from kmex_core.base.store import READ_ONLY, Store
from kmex_core.prototypes.source import KMeans, Version
from kmex_core.stages import versions
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.columns import unpacked

K5 = KMeans(5)
EDITS: list[dict[str, Any]] = [
    {"op": "hide", "p": 3},
    {"op": "add", "image": 17, "class": 0},
    {"op": "name", "p": 7, "name": "<b>"},
    {"op": "move", "p": 5, "class": 0},
    {"op": "hide", "p": 40},
]


@pytest.fixture
def subject(demo: Store) -> Subject:
    return subject_of(demo, "digits")


def sent(subject: Subject, kind: str, **said: Any) -> bytes:
    body = json.dumps({"base": source_text(K5), "operations": EDITS} | said).encode()
    return catalogue.send(subject, kind, Asked(body=body)).content


def test_an_edited_layer_is_that_of_the_version_and_has_scores_and_numbers(subject: Subject) -> None:
    content = sent(subject, "edits")
    header, columns = unpacked(content)
    prototypes = header["prototypes"]
    saved = read_json(sent(subject, "versions", name="edited <i>", note="why"))
    try:
        version = source_of(saved["source"], subject)
        assert (saved["source"], source_text(version)) == ("version:edited <i>", "version:edited <i>")
        key = subject.conversion(version).key
        layer = catalogue.read(subject, "layer", Asked(key, {"source": saved["source"]})).content
        stored, of_images = unpacked(layer)
        same = stored["prototypes"]
        assert {name: prototypes[name] for name in same} == same
        assert stored["summary"] == header["summary"]
        np.testing.assert_array_equal(columns["nearest"], of_images["nearest"])
        np.testing.assert_array_equal(columns["predicted"], np.array(same["class"])[of_images["nearest"]])
    finally:
        versions.delete(subject.store, "digits", "edited <i>")
    # 50 prototypes of k-means, then the added one: by class, 0 … 4 without 3, the moved one, the added one
    assert prototypes["index"][:7] == [0, 1, 2, 4, 5, 50, 6]
    assert prototypes["name"][prototypes["index"].index(7)] == "<b>"
    assert header["scores"]["scored"]["images"] + header["scores"]["untouched"]["images"] == 500
    assert header["empty"] == []


def test_edits_of_a_version_name_its_prototypes_as_they_are_shown(subject: Subject) -> None:
    sent(subject, "versions", name="first")
    try:
        header = unpacked(sent(subject, "edits", base="version:first", operations=[]))[0]
        assert header["prototypes"]["index"] == list(range(49))
        more = [{"op": "split", "p": 48}, {"op": "hide", "p": 50}]
        header = unpacked(sent(subject, "edits", base="version:first", operations=more))[0]
        assert header["prototypes"]["index"] == [*range(48), 49]
    finally:
        versions.delete(subject.store, "digits", "first")


def test_classes_without_prototypes_are_told(subject: Subject) -> None:
    gone = [{"op": "hide", "p": p} for p in range(45, 50)]
    header = unpacked(sent(subject, "edits", operations=gone))[0]
    assert header["empty"] == [9]
    assert np.array(header["prototypes"]["class"]).max() == 8


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"[" * 99_999, b"\xff", b'{"base": 3, "operations": []}', b'{"base": "kmeans:5:0:auto"}',
     b'{"base": "own", "operations": []}', b'{"base": "version:no", "operations": []}',
     b'{"base": "kmeans:5:0:auto", "operations": [{"op": "hide", "p": 99}]}'],
)  # fmt: skip
def test_what_is_no_edit_gets_a_sentence(subject: Subject, body: bytes) -> None:
    for kind in ("edits", "versions"):
        with pytest.raises(InputError, match=r"\w"):
            catalogue.send(subject, kind, Asked(body=body))
    with pytest.raises(InputError, match="MB"):
        catalogue.send(subject, "edits", Asked(body=b" " * (5 * 2**20)))


def test_nothing_is_edited_on_a_read_only_server(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READ_ONLY, "1")
    for kind in ("edits", "versions"):
        with pytest.raises(InputError, match="read-only"):
            sent(subject, kind, name="x")


def test_a_version_has_a_text_for_addresses() -> None:
    assert source_text(Version("a:b", K5, ())) == "version:a:b"
