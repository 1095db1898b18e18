"""The map and the prototypes as a person uses them: hover, click, zoom and slide, filter, download, follow a link."""

from __future__ import annotations

import csv
import dataclasses
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.browser import CANVAS, CARDS, open_page, settled, slide
from tests.helpers.paths import REAL_DATA
from tests.helpers.servers import dashboard

pytestmark = pytest.mark.browser

MAP = ".kx-map"


def shown(page: Page, images: str, prototypes: int) -> None:
    """Wait until the map says what it shows."""
    expect(page.locator(CANVAS)).to_have_attribute(
        "aria-label", re.compile(f"Embedding map of {images} images and {prototypes} prototypes")
    )


def span(page: Page) -> float:
    """How much is seen, once that rests: a map is drawn once before it knows the page's shape."""
    return float(
        page.evaluate(
            """async () => {
              const now = () => document.querySelector('.kx-map').dataset.span;
              for (let last; last !== now(); ) {
                last = now();
                await new Promise((go) => setTimeout(go, 500));
              }
              return now();
            }"""
        )
    )


def expect_span(page: Page, wanted: float) -> None:
    page.wait_for_function(f"Math.abs(document.querySelector('.kx-map').dataset.span - {wanted}) < 0.002")


def place(page: Page, kind: str, index: int) -> tuple[float, float]:
    """Where an image or prototype is in the browser's window: the map marks what is selected, and the link selects."""
    x, y = page.evaluate(
        """async ([kind, index]) => {
          const {places} = await import(new URL('assets/map.js', document.baseURI));
          return places(document.querySelector('.kx-map'), kind, index);
        }""",
        [kind, index],
    )
    return x, y


def test_the_map_shows_images_and_prototypes(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    page.get_by_text("Test images", exact=True).click()
    shown(page, "1,797", 50)
    expect(page).to_have_url(re.compile("test=true"))


def test_zoom_stays_while_the_prototypes_change(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    whole = span(page)
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function(f"document.querySelector('.kx-map').dataset.span < {whole} * 0.9")
    box = page.locator(MAP).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(500)
    near = span(page)
    assert near < 0.8 * whole
    slide(page, 2)
    shown(page, "1,297", 70)
    expect_span(page, near)
    page.get_by_role("button", name="Show the whole map").click()
    expect_span(page, whole)


def test_the_map_stays_when_one_number_of_prototypes_overtakes_another(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.asked = 0;
          window.fetch = async (url, ...rest) => {
            if (!/maps.*json/.test(url)) return real(url, ...rest);
            window.asked += 1;
            await new Promise((go) => setTimeout(go, 2000));
            return real(url, ...rest);
          };
        }"""
    )
    slide(page, 1)
    page.wait_for_function("window.asked === 1")
    slide(page, 1)
    page.wait_for_function("window.asked === 2")
    shown(page, "1,297", 70)
    page.wait_for_timeout(500)
    shown(page, "1,297", 70)


def test_what_is_seen_of_the_map_is_in_the_link(page: Page, browser: Browser, server: str) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    whole = span(page)
    page.mouse.move(*place(page, "prototype", 12))
    page.mouse.wheel(0, -400)
    expect(page).to_have_url(re.compile(r"view=[-\d._]+"))
    settled(page)
    near = span(page)
    assert near < 0.8 * whole
    context = browser.new_context(base_url=server, viewport={"width": 1440, "height": 900})
    other = context.new_page()
    other.goto(page.url)
    shown(other, "1,297", 50)
    expect_span(other, near)
    assert place(other, "prototype", 12) == pytest.approx(place(page, "prototype", 12), abs=2)
    other.get_by_role("button", name="Show the whole map").click()
    expect(other).not_to_have_url(re.compile("view="))
    context.close()


def test_hover_and_click_tell_what_something_is(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    tip = page.locator(".kx-map-tip")
    page.mouse.move(*place(page, "prototype", 12))
    expect(tip).to_contain_text("Prototype 12 of 2")
    expect(tip).to_contain_text("% of its class")
    expect(tip.locator("img")).to_have_js_property("complete", True)
    page.mouse.click(*place(page, "prototype", 12))
    expect(page.get_by_text("Prototype 12: number 3 of 5 of class 2")).to_be_visible()
    expect(page).to_have_url(re.compile(r"point=prototype-2\.2"))
    page.get_by_role("button", name="Open prototype").click()
    expect(page.get_by_role("heading", name="Prototype 12")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/prototypes\?.*prototype=2\.2"))


def test_what_is_told_of_a_prototype_follows_slides_and_zoom(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    tip = page.locator(".kx-map-tip")
    page.mouse.move(*place(page, "prototype", 12))
    expect(tip).to_contain_text("Prototype 12 of 2")
    before = tip.inner_text()
    slide(page, -4)  # the pointer stays where it was; now each class has one prototype
    shown(page, "1,297", 10)
    page.wait_for_timeout(300)
    assert tip.is_hidden() or tip.inner_text() != before
    assert tip.is_hidden() or "Prototype 12" not in tip.inner_text()
    page.mouse.move(*place(page, "prototype", 2))
    expect(tip).to_contain_text("Prototype 2 of 2")
    expect(tip).to_contain_text("100 % of its class")
    for _ in range(3):
        page.mouse.wheel(0, -500)
        page.wait_for_timeout(400)
    _, y = place(page, "prototype", 2)
    box = tip.bounding_box()
    assert box is None or abs(box["y"] + box["height"] / 2 - y) < 200  # it went along, or went away


def test_prototypes_are_a_table_too(page: Page) -> None:
    open_page(page, "/embedding?k=2&table=true")
    shown(page, "1,297", 20)
    page.get_by_role("tab", name="Prototypes").click()
    grid = page.locator(".st-key-prototype-table")
    expect(grid).to_be_visible()
    settled(page)
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 12, box["y"] + 35 + 17)  # the first row's box
    expect(page).to_have_url(re.compile(r"point=prototype-0\.0"))
    expect(page.get_by_text("Prototype 0: number 1 of 2 of class 0")).to_be_visible()


def test_an_image_that_is_clicked_has_a_card_and_a_link_to_its_explanation(page: Page) -> None:
    # one class and no neighbours near it, so that the dot itself is hit
    open_page(page, "/embedding?k=1")
    shown(page, "1,297", 10)
    for index in range(60):
        page.mouse.move(*place(page, "train", index))
        page.wait_for_timeout(60)
        if page.locator(".kx-map-tip").is_visible() and "Training image" in page.locator(".kx-map-tip").inner_text():
            break
    told = page.locator(".kx-map-tip").inner_text()
    number = re.search(r"Training image ([\d,]+): (\d)", told)
    assert number, told
    assert re.search(r"KMEx predicts \d [✓✗], black box \d [✓✗]", told)
    page.mouse.click(*place(page, "train", index))
    expect(page.get_by_text(f"Training image {number[1]}: {number[2]}").last).to_be_visible()
    expect(page).to_have_url(re.compile("point=train-" + number[1].replace(",", "")))
    expect(page.get_by_text("Nearest prototypes")).to_be_visible()
    page.get_by_role("link", name="Explain with relevance maps").click()
    expect(page.get_by_text("For comparison: black box")).to_be_visible()
    expect(page.get_by_role("spinbutton", name=re.compile("Training image"))).to_have_value(number[1].replace(",", ""))


def test_filters_are_in_the_link_and_in_another_browser(page: Page, browser: Browser, server: str) -> None:
    open_page(page, "/embedding?k=3")
    shown(page, "1,297", 30)
    page.get_by_text("Models differ").click()
    page.get_by_text("Test images", exact=True).click()
    # the digits' training images are all right: those that differ are test images
    expect(page.locator(CANVAS)).to_have_attribute("aria-label", re.compile(r"Embedding map of [1-9]\d? images"))
    label = page.locator(CANVAS).get_attribute("aria-label")
    page.get_by_role("spinbutton", name="Number").fill("17")
    page.get_by_role("spinbutton", name="Number").press("Enter")
    expect(page.get_by_text("Training image 17:")).to_be_visible()
    settled(page)
    context = browser.new_context(base_url=server)
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(CANVAS)).to_have_attribute("aria-label", label or "")
    expect(other.get_by_text("Training image 17:")).to_be_visible()
    expect(other.get_by_role("slider", name="Prototypes per class")).to_have_value("3")
    context.close()


def test_a_class_is_shown_alone(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    page.get_by_role("combobox", name=re.compile("Classes")).click()
    page.get_by_role("option", name="4", exact=True).click()
    shown(page, "130", 50)
    page.keyboard.press("Escape")
    page.reload()
    shown(page, "130", 50)


def test_the_table_is_a_way_for_the_keyboard(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    page.get_by_text("Show as table").click()
    expect(page.get_by_role("tabpanel", name="Images").get_by_test_id("stDataFrame")).to_be_visible()
    expect(page).to_have_url(re.compile("table=true"))


def test_the_map_can_be_kept(page: Page, tmp_path: Path, browser: Browser) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    with page.expect_download() as download:
        page.get_by_role("button", name="Embedding map as CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert len(rows) == 1297
    assert set(rows[0]) == {"split", "index", "class", "predicted", "black_box", "x", "y"}
    with page.expect_download() as download:
        page.get_by_role("button", name="Embedding map as HTML").click()
    kept = tmp_path / "map.html"
    download.value.save_as(kept)
    alone = browser.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(kept.as_uri())
    expect(alone.locator(".legendtext").first).to_be_visible()
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    alone.close()


def test_without_webgl_there_is_a_plain_figure(browser: Browser, server: str) -> None:
    context = browser.new_context(base_url=server)
    page = context.new_page()
    page.add_init_script(
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) "
        "{ return /webgl/.test(kind) ? null : real.call(this, kind, ...rest); };"
    )
    page.goto("/embedding")
    expect(page.get_by_text("This browser has no WebGL")).to_be_visible()
    expect(page.get_by_test_id("stPlotlyChart")).to_be_visible()
    expect(page.locator(MAP)).to_be_hidden()
    context.close()


def test_a_prototype_is_opened_and_its_link_works(page: Page) -> None:
    open_page(page)
    expect(page.locator(CARDS)).to_have_count(50)
    card = page.locator(CARDS).nth(31)
    address = card.get_attribute("href") or ""
    card.click()
    expect(page.get_by_role("heading", name="Prototype 31")).to_be_visible()
    expect(page).to_have_url(re.compile(r"prototype=6\.1"))
    expect(page.get_by_role("heading", name=re.compile("Stands for"))).to_be_visible()
    page.get_by_role("button", name="All prototypes").click()
    expect(page.get_by_role("heading", name="Prototypes", exact=True)).to_be_visible()
    open_page(page, f"/{address}")
    expect(page.get_by_role("heading", name="Prototype 31")).to_be_visible()
    shown(page, "1,297", 50)


def test_prototypes_are_sorted_filtered_and_kept(page: Page) -> None:
    open_page(page, "/prototypes?k=2")
    expect(page.locator(CARDS)).to_have_count(20)
    page.get_by_role("combobox", name=re.compile("Order")).click()
    page.get_by_role("option", name="Least important first").click()
    expect(page.locator(CARDS).first).to_contain_text(": ")
    shares = [int(share) for text in page.locator(CARDS).all_inner_texts() for share in re.findall(r"(\d+)%", text)[:1]]
    assert shares == sorted(shares)
    with page.expect_download() as download:
        page.get_by_role("button", name="Images and table").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 21
    with page.expect_download() as download:
        page.get_by_role("button", name="All as one image").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_curves_come_by_themselves_and_the_slider_moves_the_mark(page: Page) -> None:
    open_page(page, "/sweep")
    expect(page.get_by_test_id("stPlotlyChart").filter(has_text="KMEx").first).to_be_visible(timeout=120_000)
    expect(page.get_by_text("the mean over 5 seeds of k-means")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("button", name="Curves as CSV")).to_be_visible()
    slide(page, 2)
    expect(page.get_by_text("; with 7 per class on")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Curves as CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert [(int(row["seed"]), int(row["k"])) for row in rows] == [(seed, k) for seed in range(5) for k in range(1, 21)]


@pytest.mark.slow  # minutes: 60,000 images are embedded, placed on the map and converted first
@pytest.mark.real_data
def test_the_map_of_mnist(browser: Browser, tmp_path: Path) -> None:
    """60,000 real images, seen by the demo's network, which knows digits of 8×8 pixels from other writers."""
    root = REAL_DATA
    if not (root / "MNIST").exists():
        pytest.skip(f"MNIST is not in {root}: set KMEX_TEST_DATA to the folder that has it.")
    store = Store(tmp_path)
    black_box = models.load(store, "digits")
    described: dict[str, Any] = {
        "name": "many",
        "dataset": "mnist",
        "root": str(root),
        "embedded": False,
    }
    info = dataclasses.replace(black_box.info, **described)
    models.save(store, info, black_box.model)
    data = dataset_of(info)
    assert Subject(store, info, data).embedding_map().get().trustworthiness > 0.9
    for k in (1, 2):
        Subject(store, info, data).conversion(KMeans(k)).get()
    with dashboard(tmp_path, tmp_path / "log") as address:
        page = browser.new_page(base_url=address, viewport={"width": 1440, "height": 900})
        open_page(page, "/embedding?dataset=MNIST&k=1")
        shown(page, "60,000", 10)
        whole = span(page)
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_function(f"document.querySelector('.kx-map').dataset.span < {whole} * 0.9")
        near = span(page)
        slide(page, 1)
        shown(page, "60,000", 20)
        expect_span(page, near)
        page.get_by_role("link", name="Prototypes", exact=True).click()
        expect(page.locator(CARDS)).to_have_count(20)
        page.get_by_role("link", name="Embedding").click()
        shown(page, "60,000", 20)
        expect_span(page, near)
        page.mouse.move(*place(page, "prototype", 13))
        expect(page.locator(".kx-map-tip")).to_contain_text("Prototype 13 of 6")
        page.close()


def test_the_whole_map_is_seen_in_a_window_of_any_shape(page: Page) -> None:
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    for width, height in ((700, 1000), (1440, 500)):
        page.set_viewport_size({"width": width, "height": height})
        # the map is 2 wide and 2 high; its box may still change after the window has
        page.wait_for_function(
            """([width, height]) => {
              const map = document.querySelector('.kx-map'), box = map.getBoundingClientRect();
              return innerWidth === width && innerHeight === height
                && Math.abs(map.dataset.span - 2 * Math.max(1, box.width / box.height)) < 0.1;
            }""",
            arg=[width, height],
        )


def test_sliding_takes_no_further_webgl_context(page: Page) -> None:
    page.add_init_script(
        "window.contexts = 0; const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) "
        "{ if (/webgl/.test(kind)) window.contexts += 1; return real.call(this, kind, ...rest); };"
    )
    open_page(page, "/embedding")
    shown(page, "1,297", 50)
    first = page.evaluate("window.contexts")
    slide(page, 3)
    shown(page, "1,297", 80)
    assert page.evaluate("window.contexts") == first  # a browser holds sixteen, and then drops the oldest
