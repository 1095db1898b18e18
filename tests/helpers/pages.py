"""Pages of the dashboard, run by Streamlit's AppTest without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from app.workspace import catalogue
from app.workspace.answer import Asked
from kmex_core.base.jsontext import read_json
from kmex_core.base.store import Store
from kmex_core.stages.subject import subject_of
from tests.helpers.paths import FRAME

Page = Callable[..., AppTest]


def clear_caches() -> None:
    """Let pages compute all anew, as in a new process."""
    st.cache_data.clear()
    st.cache_resource.clear()


def open_link(view: str, /, **query: str | list[str]) -> AppTest:
    """A page opened by a link, without another page before it: of the digits, unless the link names others."""
    if not {"model", "dataset"} & query.keys():
        query["model"] = "digits"
    test = AppTest.from_file(str(FRAME), default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    return test.switch_page(f"views/{view}.py").run()


def healthy(test: AppTest) -> AppTest:
    assert not test.exception, test.exception
    return test


def sent_to(component: Any) -> Any:
    """What the page sends to a component, see `web.component`."""
    (sent,) = json.loads(component.json)
    return sent


def data_of(test: AppTest, name: str) -> dict[str, Any]:
    """What the page sends to its component `name`."""
    found = [element.proto for element in test.get("bidi_component") if element.proto.component_name == f"kmex_{name}"]
    sent: dict[str, Any] = sent_to(found[0])
    return sent


def board(test: AppTest, store: Store, kind: str = "board", **more: str) -> dict[str, Any]:
    """What the workspace answers to the question of the board on the page Explain."""
    sent = data_of(test, "explain")
    address = {name: text for name, text in sent["address"].items() if name in ("picture", "framing", "method")}
    query = {"source": sent["source"], **{name: text for name, text in address.items() if text}, **more}
    found: dict[str, Any] = read_json(
        catalogue.read(subject_of(store, sent["model"]["name"]), kind, Asked(sent["key"], query)).content
    )
    return found


def text_of(sentence: list[tuple[str, bool]]) -> str:
    """A sentence of the board."""
    return "".join(text for text, _ in sentence)


def cards(test: AppTest) -> list[dict[str, Any]]:
    return [card for group in data_of(test, "gallery")["groups"] for card in group["cards"]]


def figures(test: AppTest) -> list[dict[str, Any]]:
    """The pictures and maps that the page sends to be drawn."""
    sent = [sent_to(one.proto) for one in test.get("bidi_component") if "relevance" in one.proto.component_name]
    return [figure for data in sent for figure in data.get("figures", [])]


def header(test: AppTest) -> dict[str, str]:
    """The numbers in the head of Explore, and what their tooltips say."""
    return {one.value.replace("\\", ""): one.proto.help for one in test.main.markdown if one.proto.help}


def button(test: AppTest, label: str) -> Button:
    return next(one for one in test.button if one.label == label)


def address(test: AppTest) -> dict[str, str]:
    return {key: value if isinstance(value, str) else value[-1] for key, value in test.query_params.items()}


def said(test: AppTest) -> str:
    return "\n".join(warning.value.replace("\\", "").replace("\u2060", "") for warning in test.warning)


def links(test: AppTest) -> dict[str, dict[str, list[str]]]:
    """The query parameters of the page's links of our own, by their texts."""
    bodies = [one.proto.body for one in test.get("html") if 'class="kx-link"' in one.proto.body]
    shown = [link for body in bodies for link in ElementTree.fromstring(body).iter("a")]
    return {str(link.text): parse_qs(urlsplit(link.attrib["href"]).query) for link in shown}
