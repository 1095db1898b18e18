"""Explore as a widget: the bundle in a page that imitates a notebook, with the real widget behind it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from app import notebook
from kmex_core.base.store import Store
from tests.helpers.browser import serious

pytestmark = pytest.mark.browser

ADDRESS = "http://notebook.test/"
# a notebook's model, whose messages go to Python; bytes are somewhere in a larger buffer, as over a socket
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Notebook</title><style>STYLES</style>
<body><main><h1>Notebook</h1><div id="el"></div></main><script type="module">
import widget from './explore.js';
const text = (buffer) => btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(''));
const view = (bytes) => {
  const whole = new Uint8Array(bytes.length + 3);
  whole.set(Uint8Array.from(bytes, (c) => c.charCodeAt(0)), 3);
  return new DataView(whole.buffer, 3);
};
const listeners = new Set();
const state = STATE;
const model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; },
  save_changes: () => window.told(state.address),
  on: (_, listener) => listeners.add(listener),
  off: (_, listener) => listeners.delete(listener),
  send: async (content, _, buffers = []) => {
    const [reply, answered] = await window.kernel(content, buffers.map(text));
    for (const listener of listeners) listener(reply, answered.map((part) => view(atob(part))));
  },
};
window.leave = widget.render({ model, el: document.getElementById('el') });
</script></body></html>"""


@pytest.fixture
def notebook_page(browser: Browser, demo: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Page, list[Any]]]:
    """A page with the widget, and what the widget was told to remember."""
    pytest.importorskip("anywidget", reason="anywidget is not installed, so the widget cannot be made.")
    widget: Any = notebook.show("digits", store=demo)
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append((content, buffers or [])))

    def kernel(content: dict[str, Any], buffers: list[str]) -> list[Any]:
        widget._handle_custom_msg(content, [memoryview(base64.b64decode(part)) for part in buffers])
        reply, answered = sent.pop()
        return [reply, [base64.b64encode(part).decode() for part in answered]]

    def serve(route: Route) -> None:
        if route.request.url != ADDRESS:
            route.fulfill(path=notebook.BUNDLE / Path(route.request.url).name, content_type="text/javascript")
            return
        state = json.dumps({"data": widget.data, "height": widget.height, "address": {}}).replace("</", "<\\/")
        body = PAGE.replace("STYLES", widget._css).replace("STATE", state)
        route.fulfill(body=body, content_type="text/html")

    told: list[Any] = []
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.expose_function("kernel", kernel)
    page.expose_function("told", lambda address: told.append(address))
    page.route(f"{ADDRESS}*", serve)
    page.goto(ADDRESS)
    yield page, told
    assert errors == []
    page.close()


def test_explore_works_in_a_notebook(notebook_page: tuple[Page, list[Any]]) -> None:
    page, told = notebook_page
    pictures = page.locator(".kx-explore-panel img[src^='blob:']")
    expect(pictures.first).to_be_visible()
    page.wait_for_function("document.querySelector('.kx-explore-panel img[src^=\"blob:\"]').naturalWidth > 1")
    slider = page.get_by_role("slider").first
    slider.focus()
    slider.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('[role=slider]').getAttribute('aria-valuenow') === '6'")
    page.get_by_role("button", name="Wrong", exact=True).click()
    page.wait_for_timeout(600)  # a choice is told at rest
    assert told[-1]["show"] == "wrong"
    assert any(each["k"] == 6 for each in told)
    assert serious(page) == []
    page.evaluate("window.leave()")
    expect(page.locator(".kx-notebook")).to_have_count(0)
