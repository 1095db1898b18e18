"""Explore with 1,000,000 training images, of which a frame draws a part while the map moves, and all at rest."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks import million
from kmex_core.stages.subject import Subject, subject_of
from tests.helpers.browser import CANVAS, SLIDER, explore, outline, place_on_map, watched
from tests.helpers.servers import dashboard

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MODEL = f"model={million.NAME}"
TOTAL = million.IMAGES + million.TEST
REACH, EDGE = 60, 4  # pixels: of an outline, and how far its simplified corners may be from where they were drawn


@pytest.fixture(scope="module")
def world(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Subject]]:
    folder = tmp_path_factory.mktemp("million")
    store = million.prepare(folder)
    with dashboard(store.root, folder / "log") as address:
        yield address, subject_of(store, million.NAME)


@pytest.fixture
def page(world: tuple[str, Subject], browser: Browser) -> Iterator[Page]:
    with watched(browser, world[0]) as opened:
        yield opened


def dots(page: Page) -> bytes:
    """The picture of all dots, without what is over them."""
    expect(page.locator(".kx-map")).to_have_attribute("data-dots", "all", timeout=60_000)
    page.add_style_tag(content=".kx-map > :not(canvas[role=img]), .kx-map-view > :not(.kx-map) { visibility: hidden }")
    return page.locator(CANVAS).screenshot()


def test_all_dots_are_drawn_at_rest_the_same_each_time(page: Page) -> None:
    explore(page, f"{MODEL}&k=1")
    expect(page.locator(CANVAS)).to_have_attribute("aria-label", re.compile("1,000,000 images and 10 prototypes"))
    whole = dots(page)
    for colour in ("Right / wrong", "Class"):
        page.get_by_role("button", name=colour, exact=True).click()
        expect(page.get_by_role("button", name=colour, exact=True)).to_have_attribute("aria-pressed", "true")
        assert (dots(page) == whole) == (colour == "Class")
    middle = place_on_map(page, "prototype-0")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 90, middle[1] + 50, steps=10)
    page.mouse.up()
    assert dots(page) != whole
    page.get_by_title("Show the whole map").dispatch_event("click")
    assert dots(page) == whole


def test_a_step_shows_other_prototypes_and_a_lasso_has_all_images_in_it(world: tuple[str, Subject], page: Page) -> None:
    explore(page, f"{MODEL}&k=2&test=true")
    page.locator(SLIDER).press("ArrowRight")
    expect(page.locator(CANVAS)).to_have_attribute("aria-label", re.compile(" and 30 prototypes"))
    projection = world[1].embedding_map().get()
    places = np.concatenate([projection.train, projection.test])
    far = [int(projection.train.sum(axis=1).argmin()), int(projection.train.sum(axis=1).argmax())]
    there = np.array([place_on_map(page, f"train-{i}") for i in far])
    scale = (there[1] - there[0]) / (places[far[1]] - places[far[0]])
    on_screen = there[0] + scale * (places - places[far[0]])
    middle = place_on_map(page, "prototype-4")
    away = np.abs(on_screen - middle).max(axis=1)
    outline(page, middle, REACH)
    heading = page.get_by_role("heading", name=re.compile(rf"^[\d,]+ images of {TOTAL:,}$"))
    expect(heading).to_be_visible()
    count = int(heading.inner_text().split(" ")[0].replace(",", ""))
    assert (away < REACH - EDGE).sum() <= count <= (away < REACH + EDGE).sum()
