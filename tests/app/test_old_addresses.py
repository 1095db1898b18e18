"""Addresses of pages that are elsewhere now lead there, with what they selected."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.old_addresses import MOVES, OldAddresses
from kmex_core.base.store import Store
from tests.helpers.pages import address, data_of, healthy, open_link, said
from tests.helpers.paths import ROOT

EVERYTHING = (
    "/embedding?model=digits&k=4&point=prototype-7.2&classes=7&show=Wrong&test=true&view=0.1_-0.2_0.5&table=true"
)
OLD = {  # what a page wrote into its address, and where it leads now
    "/?model=digits&k=4&dataset=Digits": "explore?model=digits&k=4&dataset=Digits",
    "/?dataset=Digits": "explore?dataset=Digits",
    "/overview": "explore",
    "/overview?model=digits&kmex=false": "explore?model=digits&kmex=false",
    EVERYTHING: "explore?model=digits&k=4&point=prototype-7.2&classes=7&show=wrong&test=true&view=0.1_-0.2_0.5",
    "/embedding?show=Models+differ": "explore?show=disagree",
    "/embedding?classes=a%26b&classes=%C3%9F&show=All": "explore?classes=a%26b&classes=%C3%9F&show=all",
    "/evaluate?model=digits&by=Black+box&images=300": "audit?model=digits&by=Black+box&images=300",
    "/evaluate?extreme=Average+drop": "audit?extreme=Average+drop",
    "/sweep?class=7&auto=true&metric=cosine": "explore?classes=7&auto=true&metric=cosine",
}


@pytest.fixture
def client() -> TestClient:
    """A server of which every address answers "as before"."""
    every = Route("/{rest:path}", lambda _: PlainTextResponse("as before"), methods=["GET", "POST"])
    app = Starlette(routes=[every], middleware=[Middleware(OldAddresses)])
    return TestClient(app, follow_redirects=False)


@pytest.mark.parametrize("old", OLD)
def test_an_old_address_leads_to_what_it_selected(client: TestClient, old: str) -> None:
    answer = client.get(old)
    assert answer.status_code == 307
    assert answer.headers["location"] == OLD[old]


def test_the_page_there_shows_it(client: TestClient, demo: Store) -> None:
    new = urlsplit(client.get(EVERYTHING).headers["location"])
    asked = dict(parse_qsl(new.query))
    test = healthy(open_link(new.path, **asked))
    assert said(test) == ""
    assert address(test).items() >= asked.items()
    assert data_of(test, "explore")["address"]["show"] == "wrong"


def test_other_addresses_answer_as_before(client: TestClient) -> None:
    for path in ("/", "/?utm_source=x", "/explore?model=digits", "/embeddings", "/embedding/x", "/maps/embedding"):
        assert client.get(path).text == "as before", path
    assert client.post("/embedding").text == "as before"


def test_an_address_cannot_lead_elsewhere(client: TestClient) -> None:
    for path in ("/embedding?model=//evil.example", "/embedding?x=%0d%0aSet-Cookie:a=b", "//evil.example/embedding"):
        answer = client.get(path)
        where = answer.headers.get("location", "explore")
        assert urlsplit(where).path == "explore", path
        assert not urlsplit(where).netloc, path
        assert "set-cookie" not in answer.headers


def test_it_holds_below_a_prefix_and_with_a_slash(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/embedding/?k=3").headers["location"] == "../explore?k=3"
    real = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "kmex/lab" if name == "server.baseUrlPath" else real(name))
    assert client.get("/kmex/lab/embedding?k=3").headers["location"] == "explore?k=3"
    assert client.get("/kmex/lab/?model=digits").headers["location"] == "explore?model=digits"
    assert client.get("/kmex/lab/").text == "as before"
    assert client.get("/embedding").text == "as before"


def test_every_move_leads_to_a_page() -> None:
    for move in MOVES.values():
        assert (ROOT / "app" / "views" / f"{move.to}.py").is_file(), move.to
