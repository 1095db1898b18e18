"""Every page in both themes: axe-core finds nothing that keeps people out; headings, titles and the product's name."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import LAST, open_page, serious, settled

pytestmark = pytest.mark.browser

PATHS = [*LAST, "/prototypes?prototype=3.1", "/embedding?point=test-4&table=true", "/explain?image=5&source=Upload"]


def levels(page: Page) -> list[int]:
    """The levels of a page's headings, in their order."""
    return [int(one) for one in page.evaluate(
        "[...document.querySelectorAll('[data-testid=stMain] :is(h1,h2,h3,h4,h5,h6)')].map(h => h.tagName[1])"
    )]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_headings_do_not_jump(
    browser: Browser, server: str, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=server, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(60_000)
    found: list[str] = []
    titles: set[str] = set()
    for path in PATHS:
        open_page(page, path)
        last = "[data-testid=stFileUploader]" if "Upload" in path else LAST[path.partition("?")[0]]
        expect(page.locator(last).first).to_be_attached()
        settled(page)
        found += [f"{path}: {one}" for one in serious(page)]
        order = levels(page)
        assert order[:1] == [1], path
        assert order.count(1) == 1, path
        assert all(after <= before + 1 for before, after in itertools.pairwise(order)), (path, order)
        expect(page.get_by_test_id("stSidebarLogo")).to_be_visible()
        title = page.title()
        assert title.endswith("KMEx Explorer"), title
        titles.add(title)
    context.close()
    assert found == []
    assert "Prototype 16 · digits · KMEx Explorer" in titles
    assert len(titles) == len(PATHS) - 2  # Embedding and Explain are there twice
