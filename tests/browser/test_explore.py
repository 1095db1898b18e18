"""Explore as a person uses it: drag, select, drop a picture, edit, undo, follow a link, reload, go back."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from kmex_core.base.store import Store
from kmex_core.stages import versions
from tests.helpers.browser import (
    PROTOTYPES,
    SLIDER,
    drop,
    explore,
    no_sideways_scrolling,
    outline,
    place_on_map,
    serious,
)
from tests.helpers.pictures import encoded, striped

pytestmark = pytest.mark.browser


def test_dragging_the_timeline_is_live_and_its_release_is_in_the_link(page: Page) -> None:
    explore(page, "model=digits&k=2")
    page.locator(".kx-timeline").hover()  # of numbers that were not converted, once somebody uses it
    expect(page.locator(".kx-timeline .kx-ready")).to_have_count(20)  # the layers come ahead
    expect(page.locator(PROTOTYPES)).to_have_count(20)
    before = page.url
    box = page.locator(".kx-timeline-scale").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 19, middle)
    page.mouse.down()
    for k in (3, 4, 6):
        page.mouse.move(box["x"] + box["width"] * (k - 1) / 19, middle, steps=3)
        expect(page.locator(SLIDER)).to_have_attribute("aria-valuenow", str(k))
        expect(page.locator(PROTOTYPES)).to_have_count(10 * k)
    assert page.url == before  # nothing was let go yet
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"[?&]k=6"))
    page.locator(SLIDER).press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"[?&]k=5"))
    page.go_back()
    expect(page.locator(SLIDER)).to_have_attribute("aria-valuenow", "6")
    page.get_by_role("link", name="Prototypes", exact=True).click()  # other pages follow
    expect(page.get_by_role("heading", name="Prototypes", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"[?&]k=6"))


def test_a_lasso_selects_and_its_images_can_be_kept(page: Page) -> None:
    explore(page)
    outline(page, place_on_map(page, "prototype-12"), 60)
    expect(page).to_have_url(re.compile(r"select=lasso"))
    heading = page.get_by_role("heading", name=re.compile(r"^[\d,]+ images? of 1,797$"))
    expect(heading).to_be_visible()
    count = int(heading.inner_text().split(" ")[0].replace(",", ""))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8-sig").splitlines()))
    assert len(rows) == count
    assert 0 < count < 1797
    page.reload()
    expect(heading).to_have_text(f"{count:,} images of 1,797")
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page).not_to_have_url(re.compile("select="))
    page.go_back()
    expect(heading).to_have_text(f"{count:,} images of 1,797")


def test_a_prototype_on_the_map_has_a_card_which_the_link_opens(page: Page) -> None:
    explore(page)
    page.mouse.move(*place_on_map(page, "prototype-12"))
    expect(page.locator(".kx-map-tip")).to_contain_text("Prototype 3 of 2")
    page.mouse.click(*place_on_map(page, "prototype-12"))
    card = page.get_by_role("heading", name="Prototype 3 of 2")
    expect(card).to_be_visible()
    expect(page).to_have_url(re.compile(r"point=prototype-2\.2"))
    page.reload()
    expect(card).to_be_visible()
    card.press("Escape")
    expect(page.locator(PROTOTYPES)).to_have_count(50)
    expect(page).not_to_have_url(re.compile("point="))


def test_a_picture_that_is_dropped_lands_on_the_map_and_stays_over_a_reload(page: Page) -> None:
    explore(page)
    drop(page, encoded(striped(0, 1, 40, 3)[0]), "<b>odd name</b>.png")
    verdict = page.locator(".kx-board-body")
    expect(verdict).to_contain_text("predict")
    expect(page).to_have_url(re.compile(r"picture=[0-9a-f]{8,}"))
    expect(page.locator(".kx-board figcaption").first).to_contain_text("<b>odd name</b>.png")
    page.reload()
    expect(verdict).to_contain_text("predict")
    page.get_by_role("button", name="Remove picture").click()
    expect(page).not_to_have_url(re.compile("picture="))
    expect(page.locator(PROTOTYPES)).to_have_count(50)


def test_what_is_no_picture_is_told(browser: Browser, server: str) -> None:
    context = browser.new_context(base_url=server)  # `page` takes no refusal
    page = context.new_page()
    explore(page)
    drop(page, b"no picture at all", "x.png")
    expect(page.locator(".kx-board")).to_contain_text("x.png")
    expect(page).not_to_have_url(re.compile("picture="))
    context.close()


@pytest.fixture
def _no_versions(demo_cache: Path) -> Iterator[None]:
    """The store that other tests share has no versions afterwards."""
    yield
    store = Store(demo_cache)
    for saved in versions.versions_of(store, "digits")[0]:
        versions.delete(store, "digits", saved.version.name)


@pytest.mark.usefixtures("_no_versions")
def test_edits_answer_are_undone_and_are_saved_as_a_version(page: Page) -> None:
    explore(page, "model=digits&k=3&point=prototype-1.0")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("button", name="Hide", exact=True).click()
    scores = page.locator(".kx-edit-scores")
    expect(scores).to_contain_text("Accuracy")
    expect(scores).to_contain_text("Untouched (250)")
    page.get_by_role("button", name="Undo").click()
    expect(scores).to_be_hidden()
    page.keyboard.press("Control+Shift+Z")
    expect(scores).to_be_visible()
    page.reload()  # what is not saved is not lost
    expect(scores).to_be_visible()
    page.get_by_role("button", name="Save as version").click()
    page.keyboard.type("without <b>one</b>")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"version=without"))
    expect(page.get_by_text("Edited: 1 prototype hidden").first).to_be_visible()
    expect(page.locator(PROTOTYPES)).to_have_count(29)
    page.get_by_role("link", name="Prototypes", exact=True).click()  # the version is used everywhere
    expect(page.locator(".kx-card")).to_have_count(29)


def test_it_can_be_used_by_keyboard_and_fits_a_phone(page: Page) -> None:
    explore(page)
    assert serious(page) == []
    page.get_by_role("searchbox", name="Find an image by its number").fill("test 7")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Test image 7")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(400)
    assert no_sideways_scrolling(page)
    timeline = page.locator(".kx-timeline").bounding_box()
    assert timeline is not None
    assert timeline["y"] + timeline["height"] <= 845  # at the bottom, while the rest scrolls


def test_without_webgl_the_map_is_drawn_all_the_same(browser: Browser, server: str) -> None:
    context = browser.new_context(base_url=server, color_scheme="dark")
    page = context.new_page()
    page.add_init_script(
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) "
        "{ return /webgl/.test(kind) ? null : real.call(this, kind, ...rest); };"
    )
    explore(page)
    expect(page.get_by_text("no WebGL")).to_be_visible()
    page.mouse.click(*place_on_map(page, "prototype-12"))
    expect(page.get_by_role("heading", name="Prototype 3 of 2")).to_be_visible()
    assert serious(page) == []
    context.close()
