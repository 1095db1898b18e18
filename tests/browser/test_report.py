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
CARDS = ".kx-proto"


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
    # a warning is the graphics driver's, on how fast it is
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(report.as_uri())
    yield page
    context.close()
    assert wrong == [report.as_uri()]


def test_the_timeline_is_dragged_and_moved_by_keys_and_prototypes_follow(opened: Page) -> None:
    slider = opened.get_by_role("slider", name="Prototypes per class")
    slider.scroll_into_view_if_needed()
    expect(opened.locator(CARDS)).to_have_count(50)
    expect(opened.locator(".kx-timeline-scale")).to_be_visible()
    before, places = pictures(opened), opened.locator(".kx-timeline-scale").bounding_box()
    assert places is not None
    opened.mouse.move(places["x"] + 4 / 19 * places["width"], places["y"] + places["height"] - 30)
    opened.mouse.down()
    opened.mouse.move(places["x"] + 7 / 19 * places["width"], places["y"] + places["height"] - 30, steps=8)
    opened.mouse.up()
    expect(slider).to_have_attribute("aria-valuenow", "8")
    expect(opened.locator(CARDS)).to_have_count(80)
    assert pictures(opened)[:50] != before
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "1")
    expect(opened.locator(CARDS)).to_have_count(10)
    assert all(source.startswith("data:image/") for source in pictures(opened))
    opened.wait_for_function("[...document.querySelectorAll('#prototypes img')].every(image => image.naturalWidth > 0)")


def test_names_are_text_and_cards_say_what_is_picked(opened: Page) -> None:
    headings = opened.locator("#prototypes h3").all_text_contents()
    names = opened.locator(".kx-proto-name").all_text_contents()
    assert names == list(NAMES)
    for name, heading in zip(NAMES, headings, strict=True):
        assert heading.startswith(plain(name))
    opened.locator(CARDS).nth(5).click()
    card = opened.locator(".kx-card-view:visible")
    expect(card.locator("h3")).to_have_text(f"Prototype 1 of {NAMES[1]}")
    expect(card.locator(".kx-tray img").first).to_be_visible()
    for name in ("Open prototype", "Evidence on each class", "Edit", "Drop, paste or pick a picture"):
        expect(opened.get_by_role("button", name=name, exact=True)).to_have_count(0)
    opened.get_by_role("searchbox").fill("test 4")
    opened.get_by_role("searchbox").press("Enter")
    expect(card.locator("h3")).to_have_text("Test image 4")
    expect(card.get_by_text("Confidence")).to_be_visible()
    expect(opened.get_by_role("button", name="Explain on the board")).to_have_count(0)


def test_on_paper_all_prototypes_are_seen_and_the_map_is_drawn_for_it(opened: Page) -> None:
    opened.emulate_media(color_scheme="dark", media="print")
    panel, last = opened.locator(".kx-panel").bounding_box(), opened.locator(CARDS).last.bounding_box()
    assert panel is not None
    assert last is not None
    assert last["y"] + last["height"] <= panel["y"] + panel["height"]
    expect(opened.locator(".kx-explore-toolbar")).to_be_hidden()
    # names of classes are drawn in the ink of the page, which is dark now
    assert opened.evaluate(
        """() => {
          const canvas = document.querySelector('.kx-map-over');
          const [red, green, blue] = getComputedStyle(document.body).color.match(/\\d+/g).map(Number);
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return data.some((_, i) => i % 4 === 0 && data[i] === red && data[i + 1] === green && data[i + 2] === blue &&
            data[i + 3] === 255) && red < 128;
        }"""
    )


def pictures(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(f"{CARDS} img", "images => images.map(image => image.src)")
    return found


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
