"""Explore in a notebook: what the widget answers is what the server answers, and what cannot be is a sentence."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from app import notebook
from app.workspace import catalogue
from app.workspace.answer import Answer, Asked
from kmex_core import KMEx
from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import SUGGESTED, KMeans
from kmex_core.stages.subject import dataset_of, subject_of

Ask = Callable[..., tuple[dict[str, Any], list[bytes]]]


@pytest.fixture
def widget(demo: Store) -> Any:
    pytest.importorskip("anywidget", reason="anywidget is not installed, so the widget cannot be made.")
    return notebook.show("digits", store=demo, height=500)


@pytest.fixture
def ask(widget: Any, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Sends the widget a message as a notebook does; what it answers."""
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append((content, buffers or [])))

    def asked(address: str, method: str = "GET", body: bytes | None = None, **more: Any) -> Any:
        sent.clear()
        content = {"id": "v-1", "method": method, "address": address, "name": "", **more}
        widget._handle_custom_msg(content, [] if body is None else [memoryview(body)])
        (answered,) = sent
        return answered

    return asked


def test_every_address_that_the_component_has_is_answered(widget: Any, ask: Ask) -> None:
    subject, data = widget.subject, widget.data
    assert data["source"] == "kmeans:5:0:auto"
    assert len(data["sources"]) == 20  # the whole timeline, without asking Python anew
    assert data["timeline"]["ks"] == list(range(1, 21))
    of_source = data["sources"][data["source"]]
    key = of_source["key"]
    prototype = f"prototype/{key}.json?source={data['source']}&p=12"
    for address in (data["cloud"], of_source["layer"], of_source["certainty"], prototype):
        (reply, (content,)) = ask(address)
        assert reply == {"id": "v-1"}
        parts = urlsplit(address)
        kind, _, name = parts.path.partition("/")
        query = dict(pair.split("=") for pair in parts.query.split("&") if pair)
        assert content == catalogue.read(subject, kind, Asked(name.partition(".")[0], query)).content
    (_, (content,)) = ask("pictures/train/3.png")
    side = Image.open(io.BytesIO(content)).size
    assert side == (notebook.SIDE, notebook.SIDE)


def test_what_is_sent_reaches_the_workspace(widget: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def receive(subject: Any, asked: Asked) -> Any:
        received.append((subject, asked))
        return Answer(asked.body[::-1])

    received: list[tuple[Any, Asked]] = []
    monkeypatch.setitem(catalogue.SENT, "pictures", (receive, 10))
    assert ask("pictures?framing=a%20b", "POST", b"abc", name="ünï.png") == ({"id": "v-1"}, [b"cba"])
    ((subject, asked),) = received
    assert subject is widget.subject
    assert (asked.query, asked.body, asked.name) == ({"framing": "a b"}, b"abc", "ünï.png")
    reply, buffers = ask("pictures", "POST", b"12345678901")
    assert "at most" in reply["error"]
    assert buffers == []


@pytest.mark.parametrize(
    ("address", "method"),
    [
        ("nothing/0.bin", "GET"),
        ("", "GET"),
        ("cloud/00000000000000000000.bin", "GET"),
        ("layer/00000000000000000000.bin?source=kmeans:5:0:auto", "GET"),
        ("pictures/train/99999.png", "GET"),
        ("pictures/train/../../secret.png", "GET"),
        ("pictures/valid/1.png", "GET"),
        ("edits", "DELETE"),
    ],
)
def test_what_there_is_not_is_a_sentence(ask: Ask, address: str, method: str) -> None:
    reply, buffers = ask(address, method)
    assert reply["error"].endswith(".")
    assert buffers == []


def test_what_is_no_message_is_left_alone(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widget, "send", lambda *_, **__: pytest.fail("nothing was asked"))
    for content in ("text", None, {}, {"method": "GET"}):
        widget._handle_custom_msg(content, [])


def test_a_widget_has_the_bundle_and_its_styles(widget: Any) -> None:
    assert "export{" in widget._esm
    assert "--kx-ink:" in widget._css
    assert ".kx-notebook" in widget._css
    assert widget.height == 500


def test_a_kmex_from_python_is_shown_as_the_pages_would(demo: Store) -> None:
    info = models.describe(demo, "digits")
    data = dataset_of(info)
    images = {
        split: (data.split(split).images(range(count)), data.split(split).labels[:count])
        for split, count in (("train", 120), ("test", 60))
    }
    made = KMEx.from_model(
        models.load(demo, "digits").model, images["train"], info.preprocessing, k=2, test=images["test"]
    )
    subject, source, folder = notebook._bound(made, None)
    assert folder is not None
    assert subject.store.root == Path(folder.name)
    assert source == KMeans(2, 0, made.metric.name)
    conversion = subject.conversion(source).get()
    np.testing.assert_allclose(conversion.prototypes.centers, made.details.centers, rtol=1e-3, atol=1e-3)
    folder.cleanup()
    assert not subject.store.root.exists()
    made.made_by["k"] = [2] * 9 + [1]
    assert notebook._source_of(made).k == SUGGESTED


def test_a_subject_is_shown_as_it_is(demo: Store) -> None:
    subject = subject_of(demo, "digits")
    assert notebook._bound(subject, None) == (subject, KMeans(5), None)


def test_without_anywidget_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    notebook._widget_class.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'kmex-explorer\[notebook\]'"):
        notebook.show("digits")
    notebook._widget_class.cache_clear()
