"""Preparation goes on whatever is clicked, reloaded or closed, and fills the page when it is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.stages import shards
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.browser import explained, no_sideways_scrolling
from tests.helpers.servers import dashboard

pytestmark = pytest.mark.browser


def test_preparation_survives_reloads_other_pages_and_a_closed_browser(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "store"
    with dashboard(root, tmp_path / "log") as address:
        first = browser.new_context(base_url=address)
        page = first.new_page()
        page.goto("/prototypes?model=digits")
        expect(page.get_by_text("Preparing 'digits'.")).to_be_visible()
        expect(page.locator(".kx-card")).to_have_count(80)  # the data, at once
        assert no_sideways_scrolling(page)
        page.reload()
        page.get_by_role("slider", name="Prototypes per class").press("ArrowRight")
        page.get_by_role("link", name="Explain").click()
        expect(page.get_by_role("heading", name="Explain")).to_be_visible()
        first.close()
        second = browser.new_context(base_url=address)
        page = second.new_page()
        page.goto("/explain?image=3&model=digits")
        explained(page)  # without a click
        second.close()
    reports = list((root / "jobs").glob("prepare-*.json"))
    assert len(reports) == 1
    assert json.loads(reports[0].read_text())["state"] == "done"
    store = Store(root)
    info = models.describe(store, "digits")
    assert Subject(store, info, dataset_of(info)).is_embedded
    assert store.names(shards.ROOM) == []
