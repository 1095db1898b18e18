"""Every page in both themes: it fits every width, axe-core finds nothing that keeps people out, headings and titles."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.browser import A_JOB, LAST, fits, of_digits, serious, settled

pytestmark = pytest.mark.browser

# every page, and its title
PAGES = {
    **{path: f"{path[1:].capitalize()} · digits · KMEx Explorer" for path in LAST},
    "/": "KMEx Explorer",
    "/models": "Data and models · KMEx Explorer",
    "/new": "New · KMEx Explorer",
    "/prototypes?prototype=3.1": "Prototype 2 of 3 · digits · KMEx Explorer",
    "/explore?point=test-4": "Explore · digits · KMEx Explorer",
    "/explain?image=5&source=Upload": "Explain · digits · KMEx Explorer",
}
WIDTHS = ((1440, 900), (1024, 768), (720, 450), (390, 844))  # 720 × 450 is what 1440 × 900 leaves at 200 % zoom


def levels(page: Page) -> list[int]:
    """The levels of a page's headings, in their order."""
    return [
        int(one)
        for one in page.evaluate(
            "[...document.querySelectorAll('[data-testid=stMain] :is(h1,h2,h3,h4,h5,h6)')].map(h => h.tagName[1])"
        )
    ]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_nobody_out_and_fits_every_width_in_both_themes(page: Page, path: str) -> None:
    page.goto(path if path == "/" else of_digits(path))
    last = ".kx-picture-field" if "Upload" in path else LAST[path.partition("?")[0]]
    expect(page.locator(last).first).to_be_attached(timeout=A_JOB)
    settled(page)
    order = levels(page)
    assert order[:1] == [1]
    assert order.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(order)), order
    expect(page.get_by_test_id("stSidebarLogo")).to_be_visible()
    assert page.title() == PAGES[path]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", scheme)
        settled(page)
        for width, height in reversed(WIDTHS):
            fits(page, width, height)
        assert serious(page) == [], scheme
