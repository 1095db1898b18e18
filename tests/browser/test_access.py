"""Every page, checked by axe-core for what keeps people out."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.test_dashboard import LAST, open_page, settled

pytestmark = pytest.mark.browser


def serious(page: Page) -> list[str]:
    """What axe-core finds on a page that keeps people out."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
    return [
        f"{one['impact']}: {one['id']}, {one['help']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in ("critical", "serious")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("path", [*LAST, "/prototypes?prototype=3.1", "/embedding?point=test-4&table=true"])
def test_axe_finds_nothing_serious(page: Page, path: str) -> None:
    open_page(page, path)
    expect(page.locator(LAST[path.partition("?")[0]]).first).to_be_attached()
    settled(page)
    assert serious(page) == []
