"""The page Attributes as a person meets it: read, slide, click, keep, reload, follow a link."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import fits, no_sideways_scrolling, open_page, serious, settled, slide

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("faces_cache")]

FACES = "/attributes?dataset=Faces&model=faces"
WINDOWS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1440, "light"), (1024, "dark"), (390, "light"))
FINDING = re.compile(r"With (\d+) prototypes? per class, (\d+) of 30 attributes are captured")


def finding(page: Page, k: int) -> None:
    expect(page.get_by_text(re.compile(f"With {k} prototypes? per class, .* attributes are captured"))).to_be_visible()


def finished(page: Page) -> None:
    expect(page.get_by_text("Coloured bands: ± one standard deviation")).to_be_visible(timeout=300_000)
    settled(page)


def marks(page: Page) -> list[tuple[float, float]]:
    """Where the filled squares of the matrix are, from top to bottom."""
    chart = page.get_by_test_id("stPlotlyChart").filter(has_text="Prototype (number)")
    chart.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    boxes = [one.bounding_box() for one in chart.locator(".scatterlayer .trace").nth(1).locator(".point").all()]
    return [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes if box]


def test_curves_come_in_the_background_and_the_slider_moves_everything(page: Page, tmp_path: Path) -> None:
    open_page(page, FACES)
    finding(page, 5)
    finished(page)
    for title in ("Captured attributes ↑", "Error of correlations ↓", "Ghost prototypes ↓"):
        expect(page.locator("strong", has_text=title)).to_be_visible()
    with page.expect_download() as kept:
        page.get_by_role("button", name="Curves as CSV").click()
    kept.value.save_as(tmp_path / "curves.csv")
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert [row["k"] for row in rows] == [str(k) for k in range(1, 21)]
    slide(page, 2)
    finding(page, 7)
    shown = FINDING.search(page.get_by_text(FINDING).inner_text())
    assert shown
    assert float(rows[6]["captured"]) == pytest.approx(float(shown[2]), abs=3), (
        "the mean of three seeds is near the first"
    )
    assert "k=7" in page.url
    assert no_sideways_scrolling(page)


def test_a_click_on_a_mark_shows_the_attribute_and_a_link_shows_it_again(
    page: Page, browser: Browser, server: str
) -> None:
    open_page(page, FACES)
    finding(page, 5)
    settled(page)
    page.mouse.click(*marks(page)[0])
    expect(page).to_have_url(re.compile("attribute="))
    expect(page.get_by_text(re.compile("with this attribute"))).to_be_visible()
    expect(page.get_by_text("nearest to a prototype")).to_be_visible()
    name = re.search("attribute=([A-Za-z_]+)", page.url)
    assert name
    words = page.get_by_text(re.compile(f"^{name[1].replace('_', ' ')} occurs in .* training images"))
    expect(words).to_be_visible()
    page.wait_for_function(
        "[...document.querySelectorAll('.kx-card img')].every(i => i.complete && i.naturalWidth > 0)"
    )
    said = words.inner_text()
    page.reload()
    expect(words).to_have_text(said)
    other = browser.new_context(base_url=server).new_page()
    other.goto(page.url)
    expect(other.get_by_text(said)).to_be_visible(timeout=60_000)
    other.context.close()


def test_the_groups_that_are_kept_begin_with_the_worst_that_is_named(page: Page, tmp_path: Path) -> None:
    open_page(page, FACES)
    worst = page.get_by_text(re.compile("^Least accurate: "))
    expect(worst).to_be_visible()
    settled(page)
    with page.expect_download() as kept:
        page.get_by_role("button", name="All groups as CSV").click()
    kept.value.save_as(tmp_path / "groups.csv")
    first = next(csv.DictReader((tmp_path / "groups.csv").open()))
    assert worst.inner_text().startswith(f"Least accurate: {first['group'].replace('_', ' ')}. ")
    assert f"{float(first['accuracy']):.1%} of its {first['images']} test images" in worst.inner_text()


def test_the_page_fits_and_keeps_nobody_out(page: Page) -> None:
    page.goto(f"{FACES}&attribute=Glasses")
    finding(page, 5)
    expect(page.get_by_text("Correlations as CSV")).to_be_attached()
    for width, scheme in WINDOWS:
        page.emulate_media(color_scheme=scheme)
        expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", scheme)
        settled(page)
        fits(page, width, 900)
        assert serious(page) == [], (width, scheme)
