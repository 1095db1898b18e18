"""Relevance maps are drawn in the browser: right, and without the server."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Response, WebSocket, expect

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.display import LOSSLESS, overlay
from kmex_core.data.pictures import read_picture
from kmex_core.models import catalogue as models
from kmex_core.models.catalogue import network_input
from kmex_core.prototypes.source import KMeans
from kmex_core.relevance.types import Explanation
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.browser import PICK, explained, no_sideways_scrolling, open_page
from tests.helpers.pictures import encoded

pytestmark = pytest.mark.browser
SIDE = 256  # relevance.js


@pytest.fixture
def asked(page: Page) -> list[str]:
    """Everything that the page asks of the server, as it happens: requests, and frames over the WebSocket."""
    requests: list[str] = []

    def watch(socket: WebSocket) -> None:
        socket.on("framesent", lambda _: requests.append("frame"))

    page.on("websocket", watch)
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    return requests


def pixels_of(canvas: Locator) -> np.ndarray:
    """(H, W, 3) uint8 of what a canvas shows."""
    address = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.asarray(image.convert("RGB"))


def engine(store: Store, pixels: np.ndarray) -> Explanation:
    """What the engine says of a picture, by the digits' network with five prototypes per class."""
    info = models.describe(store, "digits")
    data = dataset_of(info)
    kmex = Subject(store, info, data).explainer(KMeans(5))
    return kmex.explain(network_input(info, pixels), top=1, judged=False)


def upload(page: Page, name: str, content: bytes) -> None:
    page.get_by_label(PICK).set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    expect(page.locator(".kx-file")).to_have_text(name)
    explained(page)


def shown_map(page: Page) -> Locator:
    return page.get_by_role("img", name=re.compile("Relevance for Prototype")).first


def painted(page: Page, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W, 3) uint8 of the first map, once it has this size and stays as it is: a canvas is painted when its picture
    is decoded, which may be after the page's script has ended."""
    before = pixels_of(shown_map(page))
    for _ in range(100):
        page.wait_for_timeout(100)
        now = pixels_of(shown_map(page))
        if now.shape == shape and np.array_equal(before, now):
            break
        before = now
    return before


RANDOM = np.random.default_rng(5)
UPLOADS = {
    "digit": encoded(datasets.load(DatasetSpec("digits")).split("test").image(100)),
    "colour": encoded(RANDOM.integers(0, 256, (60, 90, 3), dtype=np.uint8)),
    "one-pixel": encoded(np.full((1, 1), 130, np.uint8)),
    "deep-grey": encoded((np.arange(40 * 30, dtype=np.uint16) * 50).reshape(40, 30)),
    "panorama": encoded(np.tile(np.arange(3000, dtype=np.uint32).astype(np.uint8), (75, 1))),
    "tall": encoded(RANDOM.integers(0, 256, (2000, 3), dtype=np.uint8)),
}


def test_the_browser_draws_what_the_engine_computes(page: Page, demo_cache: Path) -> None:
    open_page(page, "/explain?source=Upload&opacity=60&colours=Viridis")
    for name, content in UPLOADS.items():
        pixels = read_picture(content).pixels
        found = engine(Store(demo_cache), pixels)
        upload(page, f"{name}.png", content)
        expected = overlay(pixels, found.maps.values[0], 0.6, "Viridis", SIDE)
        drawn = painted(page, expected.shape)
        assert drawn.shape == expected.shape, name
        assert max(drawn.shape) <= 512
        away = np.abs(drawn.astype(int) - expected)
        if max(pixels.shape) <= LOSSLESS:
            assert away.max() <= 4, name  # a map has 255 steps
        else:
            assert away.mean() < 4, name  # large pictures are sent as WebP
        assert no_sideways_scrolling(page)


def test_opacity_and_colours_change_without_the_server(page: Page, asked: list[str]) -> None:
    open_page(page, "/explain?image=3")
    explained(page)
    canvas = shown_map(page)
    first = pixels_of(canvas)
    page.wait_for_timeout(1500)  # what the page asks for by itself has come
    asked.clear()
    slider = page.get_by_role("slider", name=re.compile("Relevance map opacity"))
    slider.focus()
    slider.press("Home")
    expect(slider).to_have_js_property("value", "0")
    page.wait_for_timeout(200)
    picture = pixels_of(canvas)
    assert (picture[..., 0] == picture[..., 1]).all()  # the picture alone, in grey
    for _ in range(20):
        slider.press("ArrowRight")
    page.get_by_role("combobox", name="Colours").select_option("Grey")
    page.wait_for_timeout(200)
    assert not np.array_equal(pixels_of(canvas), first)
    expect(page.get_by_text("White pixels raise the score")).to_be_visible()
    expect(page).to_have_url(re.compile("opacity=100.*colours=Grey"))
    page.wait_for_timeout(500)
    assert asked == []


def test_the_look_survives_runs_pages_reloads_and_links(page: Page, browser: Browser, server: str) -> None:
    open_page(page, "/explain")
    explained(page)
    slider = page.get_by_role("slider", name=re.compile("Relevance map opacity"))
    slider.focus()
    slider.press("ArrowLeft")
    page.get_by_role("combobox", name="Colours").select_option("Viridis")
    page.wait_for_timeout(200)

    def unchanged(where: Page) -> None:
        explained(where)
        expect(where.get_by_role("slider", name=re.compile("Relevance map opacity"))).to_have_js_property("value", "80")
        expect(where.get_by_role("combobox", name="Colours")).to_have_js_property("value", "Viridis")
        for part in ("opacity=80", "colours=Viridis"):  # in whatever order
            expect(where).to_have_url(re.compile(part))

    before = pixels_of(shown_map(page))
    number = page.get_by_role("spinbutton", name=re.compile("Test image"))
    number.fill("12")
    number.press("Enter")
    expect(page).to_have_url(re.compile("image=12"))
    unchanged(page)
    for _ in range(100):  # until the browser has drawn it
        if not np.array_equal(pixels_of(shown_map(page)), before):
            break
        page.wait_for_timeout(100)
    assert not np.array_equal(pixels_of(shown_map(page)), before)
    page.get_by_role("link", name="Prototypes", exact=True).click()
    expect(page.locator(".kx-card").first).to_be_visible()
    page.get_by_role("link", name="Explain").click()
    unchanged(page)
    page.reload()
    unchanged(page)
    other = browser.new_context(base_url=server).new_page()
    other.goto(page.url)
    unchanged(other)
    other.context.close()


@pytest.mark.parametrize("colours", ["constructor", "toString", "__proto__"])
def test_colours_that_every_object_inherits_are_no_scale(page: Page, colours: str) -> None:
    open_page(page, f"/explain?colours={colours}")
    explained(page)
    expect(page.get_by_role("combobox", name="Colours")).to_have_value("Red and blue")
    assert pixels_of(shown_map(page)).std() > 0
    expect(page.get_by_text(f"The link asks for colours '{colours}'")).to_be_visible()


def test_a_photo_of_twelve_megapixels_is_sent_as_it_is_shown(page: Page) -> None:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (75, 100, 3), dtype=np.uint8))
    photo = io.BytesIO()
    coarse.resize((4000, 3000), Image.Resampling.BICUBIC).save(photo, "JPEG", quality=90)
    received: list[Response] = []
    page.on("response", lambda answer: received.append(answer) if "/workspace/" in answer.url else None)
    open_page(page, "/explain?source=Upload")
    upload(page, "photo.jpg", photo.getvalue())
    assert pixels_of(shown_map(page)).shape == (384, 512, 3)
    assert 10_000 < sum(len(answer.body()) for answer in received) < 1_500_000
