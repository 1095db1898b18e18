"""The pages as a person meets them: slide, pick, upload, reload, follow a link."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.pictures import MAX_BYTES
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.browser import CARDS, PICK, explained, no_sideways_scrolling, open_page, settled, slide, wait_until
from tests.helpers.hostile import hostile_model
from tests.helpers.pictures import encoded
from tests.helpers.servers import dashboard

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def converted(demo_cache: Path) -> Conversion:
    store = Store(demo_cache)
    info = models.describe(store, "digits")
    return Subject(store, info, dataset_of(info)).conversion(KMeans(5)).get()


def test_home_leads_to_the_demo_and_the_tour_is_offered_until_it_is_closed(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("link", name="Open my model")).to_be_visible()
    wait_until(page, "[...document.querySelectorAll('[data-testid=stImage] img')].every(i => i.naturalWidth > 0)")
    assert no_sideways_scrolling(page)
    page.get_by_role("link", name="Look at a demo").click()
    expect(page).to_have_url(re.compile(r"/explore\?.*model=faces"))
    tour = page.get_by_role("dialog", name="Guided tour")
    tour.get_by_role("button", name="Start").click()
    for step in range(1, 7):
        expect(tour).to_contain_text(f"{step} of 6")
        expect(tour.get_by_role("button", name="Done" if step == 6 else "Next")).to_be_focused()
        page.keyboard.press("ArrowLeft" if step == 6 else "ArrowRight")
    expect(tour).to_contain_text("5 of 6")
    page.keyboard.press("Escape")
    expect(tour).to_be_hidden()
    expect(page.get_by_role("button", name="Tour", exact=True)).to_be_focused()
    page.reload()
    expect(page.get_by_role("button", name="Tour", exact=True)).to_be_visible()
    settled(page)
    expect(tour).to_be_hidden()
    page.get_by_role("button", name="Tour", exact=True).click()
    expect(tour).to_contain_text("1 of 6")


def test_sliding_changes_the_prototypes_and_the_link(page: Page) -> None:
    open_page(page)
    expect(page.locator(CARDS)).to_have_count(50)
    slide(page, 3)
    expect(page.locator(CARDS)).to_have_count(80)
    expect(page).to_have_url(re.compile(r"k=8"))
    slide(page, -7)
    expect(page.locator(CARDS)).to_have_count(10)
    page.get_by_role("link", name="Explain").click()
    explained(page)
    expect(page).to_have_url(re.compile(r"/explain\?.*k=1"))
    page.get_by_role("link", name="Prototypes", exact=True).click()
    expect(page.locator(CARDS)).to_have_count(10)


def test_a_link_shows_the_same_in_another_browser(page: Page, browser: Browser, server: str) -> None:
    open_page(page, "/explain?k=3&image=41&opacity=40")
    explained(page)
    page.reload()
    explained(page)
    shown = page.locator(".kx-like").first.inner_text()
    assert re.search(r"image=41", page.url)
    context = browser.new_context(base_url=server)
    other = context.new_page()
    other.goto(page.url)
    explained(other)
    assert other.locator(".kx-like").first.inner_text() == shown
    expect(other.get_by_role("spinbutton", name=re.compile("Test image"))).to_have_value("41")
    expect(other.get_by_role("slider", name="Prototypes per class")).to_have_value("3")
    expect(other.get_by_role("slider", name=re.compile("Relevance map opacity"))).to_have_value("40")
    context.close()


def test_picking_a_mistake_says_so(page: Page) -> None:
    open_page(page, "/explain")
    explained(page)
    expect(page.get_by_text("Correct.")).to_be_visible()
    page.get_by_role("button", name=re.compile("Random mistake")).click()
    expect(page.get_by_text(re.compile(r"The true class is \d, so .* wrong\."))).to_be_visible()
    assert "image=" in page.url


def test_a_picture_from_outside_is_explained_and_leads_to_explore(page: Page, converted: Conversion) -> None:
    image = datasets.load(DatasetSpec("digits")).split("test").image(100)
    nearest = converted.test_activated[100]
    place = int(np.flatnonzero(np.flatnonzero(converted.prototypes.classes == 4) == nearest)[0])
    open_page(page, "/explain?source=Upload")
    page.get_by_label(PICK).set_input_files({"name": "four.png", "mimeType": "image/png", "buffer": encoded(image)})
    explained(page)
    expect(page.get_by_text(re.compile("both predict 4"))).to_be_visible()
    expect(page.locator(".kx-like").first).to_contain_text(f"Prototype {place + 1} of 4")
    # maps of three prototypes on both sides, of the black box, and of the contrast with the rival
    expect(page.locator(".kx-figures canvas[role=img][aria-label]")).to_have_count(3 * 2 + 1 + 1)
    assert no_sideways_scrolling(page)
    page.get_by_role("button", name="Rotate").click()
    expect(page).to_have_url(re.compile(r"framing=turn90"))
    explained(page)
    page.locator(".kx-like").first.click()
    expect(page).to_have_url(re.compile(r"/explore\?.*point=prototype-"))
    settled(page)
    page.get_by_role("link", name="Explain").click()
    explained(page)
    expect(page).to_have_url(re.compile(r"picture=[0-9a-f]{32}.*framing=turn90|framing=turn90.*picture=[0-9a-f]{32}"))


def test_a_bad_picture_is_a_sentence_and_the_next_one_works(page: Page, tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(MAX_BYTES + 1)
    open_page(page, "/explain?source=Upload")
    field = page.get_by_label(PICK)
    field.set_input_files(tmp_path / "large.png")
    expect(page.get_by_text("the limit is 64 MB")).to_be_visible()
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    field.set_input_files({"name": "noise.bmp", "mimeType": "image/bmp", "buffer": encoded(noise, "BMP")})
    explained(page)
    expect(page.locator(".kx-verdict > :first-child")).to_contain_text("Unlike the training data.")


def test_the_predictions_can_be_downloaded(page: Page) -> None:
    open_page(page, "/explain?image=3")
    explained(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Predictions as CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "class,black_box_probability,similarity,probability"
    assert len(lines) == 11
    assert sum(float(line.split(",")[1]) for line in lines[1:]) == pytest.approx(1, abs=1e-4)


def test_other_hosts_and_unknown_pictures_are_refused(page: Page, server: str) -> None:
    found = page.request.get("/pictures/digits/digits-1/train/0.png")
    assert found.ok
    assert found.headers["content-type"] == "image/png"
    assert page.request.get("/pictures/digits/digits-1/train/999999.png").status == 404
    assert page.request.get("/pictures/digits/digits-1/train/0.png", headers={"Host": "evil.example"}).status == 400


@pytest.mark.parametrize(
    "path",
    [
        "pictures/digits/digits-1/train/" + "9" * 4_400 + ".png", "pictures/digits/digits-1/train/-1.png",
        "pictures/digits/digits-1/train/%D9%A3.png", "pictures/digits/digits-1/train/%00.png",
        "pictures/..%2F..%2Fetc/digits-1/train/0.png", "pictures/%00/digits-1/train/0.png",
        "pictures/" + "a" * 4_000 + "/digits-1/train/0.png", "workspace/digits/cloud/" + "0" * 20 + ".bin",
        "workspace/digits/cloud/%2e%2e.bin", "workspace/digits/nothing/0.bin",
        "workspace/digits/layer/" + "1" * 20 + ".bin?source=own", "workspace/digits/layer/" + "٠" * 20 + ".bin",
        "assets/..%2f..%2fHome.py", "assets/no.js", "assets/%00",
    ],
)  # fmt: skip
def test_no_address_breaks_the_server(page: Page, server: str, path: str) -> None:
    # Streamlit itself answers 400 to what looks like a way out of its folders
    assert page.request.get(f"{server}/{path}").status in (400, 404)


def test_hostile_names_ask_no_other_machine_for_anything(browser: Browser, tmp_path: Path) -> None:
    """A name with an image in it is shown as it is written: nothing is fetched, and nothing of it is run."""
    store = Store(tmp_path / "store")
    info = hostile_model(store, tmp_path)
    Subject(store, info, dataset_of(info)).conversion(KMeans(2)).get()
    with dashboard(store.root, tmp_path / "log") as address:
        page = browser.new_page(base_url=address)
        page.set_default_timeout(60_000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: pytest.fail(f"A name was run: {dialog.message}"))
        for view in ("", "prototypes", "explain", "audit", "attributes", "compare", "models"):
            page.goto(f"/{view}?model=hostile&k=2")
            settled(page)
            expect(page.get_by_role("heading", level=1).first).to_be_visible()
        page.goto("/attributes?model=hostile&k=2")
        expect(page.get_by_text("![x](http:").first).to_be_visible()
        settled(page)
        page.close()
    assert [
        url for url in asked if not url.startswith((address, "data:", "blob:", address.replace("http", "ws")))
    ] == []
