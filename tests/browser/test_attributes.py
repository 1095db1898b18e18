"""The page Attributes as a person meets it: read, slide, click, keep, reload, follow a link."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.browser import fits, no_sideways_scrolling, open_page, serious, settled, slide, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("faces_cache")]

FACES = "/attributes?dataset=Faces&model=faces"
WINDOWS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1440, "dark"), (390, "light"))
FINDING = re.compile(r"With (\d+) prototypes? per class, (\d+) of 30 attributes are captured")


def finding(page: Page, k: int) -> None:
    expect(page.get_by_text(re.compile(f"With {k} prototypes? per class, .* attributes are captured"))).to_be_visible()


def finished(page: Page) -> None:
    expect(page.get_by_text("Coloured bands: ± one standard deviation")).to_be_visible(timeout=300_000)
    settled(page)


def test_curves_come_in_the_background_and_the_slider_moves_everything(page: Page, tmp_path: Path) -> None:
    open_page(page, FACES)
    finding(page, 5)
    page.get_by_text("Coverage by number of prototypes per class").click()
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


def test_a_mark_opens_its_images_and_a_link_shows_the_attribute_again(page: Page) -> None:
    open_page(page, f"{FACES}&attribute=Sunglasses")
    words = page.get_by_text(re.compile("^Sunglasses occurs in .* training images"))
    expect(words).to_be_visible()
    settled(page)
    matrix = page.get_by_role("grid", name=re.compile("^Which of 15 prototypes"))
    wait_until(page, "[...document.querySelectorAll('.kx-matrix img')].every(i => i.complete && i.naturalWidth > 0)")
    picked = matrix.get_by_role("row").filter(has=page.get_by_role("rowheader", name=re.compile("^Sunglasses")))
    assert picked.evaluate(
        "row => row.getBoundingClientRect().bottom <= row.closest('.kx-matrix').getBoundingClientRect().bottom"
    ), "the attribute of the link is scrolled to"
    picked.get_by_role("link", name=re.compile("its exemplar has it$")).first.click()
    expect(page).to_have_url(re.compile("/explore"))
    query = parse_qs(urlsplit(page.url).query)
    assert query["select"][1:] == ["attribute:Sunglasses", "split:train"]
    assert re.fullmatch(r"prototype:\d\.\d", query["select"][0])
    assert (query["model"], query["k"]) == (["faces"], ["5"])


def test_the_worst_cause_is_one_entry_that_keys_unfold(page: Page, tmp_path: Path) -> None:
    open_page(page, f"{FACES}&tab=Errors")
    worst = page.get_by_text(re.compile("^Least accurate: "))
    expect(worst).to_be_visible()
    settled(page)
    with page.expect_download() as kept:
        page.get_by_role("button", name="All groups as CSV").click()
    kept.value.save_as(tmp_path / "groups.csv")
    first = next(csv.DictReader((tmp_path / "groups.csv").open()))
    assert worst.inner_text().startswith(f"Least accurate: {first['group'].replace('_', ' ')}. ")
    assert f"{float(first['accuracy']):.1%} of its {first['images']} test images" in worst.inner_text()
    entry = page.get_by_role("link", name=re.compile("^Sunglasses: open its"))
    entry.focus()
    page.keyboard.press("ArrowRight")
    fold = page.get_by_role("button", name=re.compile(r"with another attribute: \d+ groups, 3 below chance"))
    expect(fold).to_be_focused()
    page.keyboard.press("Enter")
    expect(fold).to_have_attribute("aria-expanded", "true")
    expect(fold).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    wrong = page.get_by_role("link", name=re.compile("open the .* wrong test images$")).and_(page.locator(":focus"))
    expect(wrong).to_have_count(1)
    wrong.press("Enter")
    expect(page).to_have_url(re.compile("/explore"))
    query = parse_qs(urlsplit(page.url).query)["select"]
    assert set(query) == {f"attribute:{first['attribute']}", f"attribute:{first['other']}", "wrong", "split:test"}


def test_the_page_fits_and_keeps_nobody_out(page: Page) -> None:
    page.goto(f"{FACES}&attribute=Glasses")
    finding(page, 5)
    for tab in ("Errors", "Correlations"):  # the first is held to it in test_access
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("grid").last).to_be_visible()
        for width, scheme in WINDOWS:
            page.emulate_media(color_scheme=scheme)
            expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", scheme)
            settled(page)
            fits(page, width, 900)
            assert serious(page) == [], (tab, width, scheme)
