"""The map of Explore as a person uses it: point, click, outline, colour, find, by keyboard, and without WebGL."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import CANVAS, outline, place_on_map, profile, settled

pytestmark = pytest.mark.browser

TIP, LEGEND = ".kx-map-tip", ".kx-legend"


def opened(page: Page) -> None:
    page.goto("/explore?dataset=Digits&model=digits&k=5")
    expect(page.locator(CANVAS)).to_have_attribute("aria-label", re.compile(r"1,297 images and 50 prototypes"))
    settled(page)


def test_pointing_picking_outlining_and_the_legend(page: Page) -> None:
    opened(page)
    page.mouse.move(*place_on_map(page, "prototype-12"))
    expect(page.locator(TIP)).to_contain_text("Prototype 3 of 2")
    expect(page.locator(f"{TIP} img")).to_have_js_property("complete", True)
    page.mouse.click(*place_on_map(page, "prototype-12"))
    expect(page).to_have_url(re.compile(r"point=prototype-2\.2"))
    outline(page, place_on_map(page, "prototype-12"), 60)
    expect(page).to_have_url(re.compile(r"select=lasso%3A(-?[\d.]+_?){6,120}"))
    expect(page.get_by_text(re.compile(r"^[1-9][\d,]* images of 1,797"))).to_be_visible()

    entry = page.locator(LEGEND).get_by_role("button", name=re.compile(r"^4"))
    expect(entry).to_contain_text("130")
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile("select=class%3A4"))
    page.get_by_role("button", name="Right / wrong").click()
    expect(page.locator(LEGEND)).to_contain_text("wrong")
    expect(page).to_have_url(re.compile("colour=correct"))
    page.get_by_role("button", name="Test images").click()
    expect(page.locator(CANVAS)).to_have_attribute("aria-label", re.compile("1,797 images"))


def test_by_keyboard_and_by_number(page: Page) -> None:
    opened(page)
    page.locator(".kx-map").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".kx-map-live")).to_contain_text(re.compile(r"Prototype \d of \d, .*images"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"point=prototype-\d\.\d"))
    for _ in range(2):  # the cursor, then what is picked
        page.locator(".kx-map").press("Escape")
    expect(page).not_to_have_url(re.compile("point="))
    field = page.get_by_role("searchbox", name=re.compile("Find an image"))
    field.fill("test 9999")
    field.press("Enter")
    expect(page.get_by_text("No such image: train 0 to 1296, test 0 to 499")).to_be_visible()
    field.fill("test 7")
    field.press("Enter")
    expect(page).to_have_url(re.compile("point=test-7"))


def test_without_webgl_a_sample_is_drawn(browser: Browser, server: str) -> None:
    context = browser.new_context(**profile(server))
    page = context.new_page()
    page.add_init_script(
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) "
        "{ return /webgl/.test(kind) ? null : real.call(this, kind, ...rest); };"
    )
    opened(page)
    expect(page.get_by_text("This browser has no WebGL: the map draws a sample")).to_be_visible()
    page.mouse.move(*place_on_map(page, "prototype-12"))
    expect(page.locator(TIP)).to_contain_text("Prototype 3 of 2")
    outline(page, place_on_map(page, "prototype-12"), 60)
    expect(page).to_have_url(re.compile("select=lasso"))
    context.close()
