"""The report as people open it: a file in a browser without any network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.report import html_report
from kmex_core.base.plain_text import plain
from kmex_core.base.store import Store
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import subject_of
from tests.helpers.browser import open_page, serious

pytestmark = pytest.mark.browser

NAMES = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "<!-- <script>",
    *"456789",
)
PICTURES = "#k-pictures img"


@pytest.fixture(scope="module")
def report(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the demo whose classes have names that would run if they were markup."""
    subject = subject_of(Store(demo_cache), "digits")
    for seed in range(2):
        subject.sweep(KMeans(5, seed)).get()
    subject.suggestion().get()
    data = replace(subject.data, class_names=NAMES)
    subject = replace(subject, info=replace(subject.info, class_names=NAMES), data=data)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html_report(subject, KMeans(5))[0])
    return path


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    """The report without a network. It must neither log an error, nor ask for anything, nor open a dialog."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(report.as_uri())
    yield page
    context.close()
    assert wrong == [report.as_uri()]


def sources(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(PICTURES, "images => images.map(image => image.src)")
    return found


def test_the_slider_moves_by_keyboard_and_pictures_and_marks_follow(opened: Page) -> None:
    slider = opened.get_by_role("slider", name="Prototypes per class")
    slider.focus()
    expect(opened.locator(PICTURES)).to_have_count(50)
    mark = opened.locator(".mark").first
    before, places = sources(opened), [mark.get_attribute("cx")]
    values = opened.locator("#k-values").text_content()
    slider.press("ArrowRight")
    expect(opened.locator("#k-number")).to_have_text("6")
    expect(opened.locator(PICTURES)).to_have_count(60)
    assert sources(opened)[:60] != before
    assert opened.locator("#k-values").text_content() != values
    assert slider.get_attribute("aria-valuetext") == "6 per class"
    places.append(mark.get_attribute("cx"))
    slider.press("Home")
    expect(opened.locator("#k-number")).to_have_text("1 (suggested)")
    expect(opened.locator(PICTURES)).to_have_count(10)
    places.append(mark.get_attribute("cx"))
    assert len(set(places)) == 3
    for alt in opened.eval_on_selector_all("img", "images => images.map(image => image.alt)"):
        assert alt
    opened.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_names_are_text_and_the_map_says_what_is_under_the_pointer(opened: Page) -> None:
    headings = opened.locator("#prototypes h3").all_text_contents()
    for name, heading in zip(NAMES, headings, strict=True):
        assert heading.startswith(plain(name))
    canvas = opened.locator(".map canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    hint = opened.locator(".hint")
    found = set[str]()
    for across in range(40):
        for down in range(12):
            opened.mouse.move(
                box["x"] + (across + 0.5) * box["width"] / 40, box["y"] + (down + 0.5) * box["height"] / 12
            )
            if hint.is_visible():
                found.add(hint.text_content() or "")
    assert any(text.startswith("Prototype ") for text in found)
    assert any(text.startswith("Training image ") for text in found)
    assert all(any(name in text for name in NAMES) for text in found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_keeps_nobody_out_and_fits_every_width(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for width in (1280, 720, 390):
        opened.set_viewport_size({"width": width, "height": 900})
        opened.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    for details in opened.locator("details").all():
        details.evaluate("element => element.open = true")
    assert levels(opened)[0] == 1
    assert all(after <= before + 1 for before, after in zip(levels(opened), levels(opened)[1:], strict=False))
    assert serious(opened) == []


def test_a_button_of_explore_downloads_it(page: Page) -> None:
    open_page(page, "/explore")
    page.get_by_role("button", name="Share").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Report (HTML)").click()
    assert download.value.suggested_filename == "digits-5-report.html"
    assert download.value.path().read_text().startswith("<!doctype html>")


def levels(page: Page) -> list[int]:
    return [int(one) for one in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName[1])")]
