"""Each gesture of Explore on 60,000 training and 10,000 test images, of made pictures and of MNIST."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject
from tests.helpers import many
from tests.helpers.browser import (
    CANVAS,
    PROTOTYPES,
    SLIDER,
    drop,
    explore,
    outline,
    place_on_map,
    watched,
)
from tests.helpers.pictures import encoded
from tests.helpers.servers import dashboard

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MODEL = f"model={many.NAME}"
ALL = "70,000"
REACH, EDGE = 60, 4  # pixels: of an outline, and how far its simplified corners may be from where they were drawn
THUMBNAIL, SQUARE = 36, 14  # pixels from the middle of a picture or a prototype to beyond its edge
BACKGROUND, TESTED = 0, 9


@dataclass(frozen=True)
class World:
    """A server, and what it serves."""

    address: str
    subject: Subject

    @property
    def places(self) -> np.ndarray:
        """(70,000, 2) of the images, as in the store."""
        projection = self.subject.embedding_map().get()
        return np.concatenate([projection.train, projection.test])


@pytest.fixture(scope="module", params=["made", pytest.param("mnist", marks=pytest.mark.real_data)])
def world(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(request.param)
    store = many.prepared(getattr(many, request.param)(), folder / "store")
    with dashboard(store.root, folder / "log") as address:
        yield World(address, many.subject_in(store))


@pytest.fixture
def page(world: World, browser: Browser) -> Iterator[Page]:
    with watched(browser, world.address) as opened:
        yield opened


def shows(page: Page, k: int, hidden: int = 0) -> None:
    """The timeline, the map and the panel show as many prototypes per class, but for hidden ones."""
    prototypes = 10 * k - hidden
    expect(page.locator(SLIDER)).to_have_attribute("aria-valuenow", str(k))
    expect(page.locator(CANVAS)).to_have_attribute(
        "aria-label", re.compile(rf"60,000 images and {prototypes} prototypes")
    )
    expect(page.locator(PROTOTYPES)).to_have_count(prototypes)


class Screen:
    """Where places of the store's map are in the window: two images tell."""

    def __init__(self, page: Page, places: np.ndarray) -> None:
        far = [int(places.sum(axis=1).argmin()), int(places.sum(axis=1).argmax())]
        names = [f"train-{i}" if i < 60_000 else f"test-{i - 60_000}" for i in far]
        there = np.array([place_on_map(page, name) for name in names])
        self.scale = (there[1] - there[0]) / (places[far[1]] - places[far[0]])
        self.origin = there[0] - self.scale * places[far[0]]

    def of(self, places: np.ndarray) -> np.ndarray:
        """(N, 2) pixels."""
        return np.asarray(self.origin + self.scale * places)


def test_the_timeline_is_dragged_live_and_goes_back(world: World, page: Page) -> None:
    explore(page, f"{MODEL}&k=2")
    page.locator(".kx-timeline").hover()
    expect(page.locator(".kx-timeline .kx-ready")).to_have_count(20)  # the layers come ahead
    shows(page, 2)
    before = page.url
    box = page.locator(".kx-timeline-scale").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 19, middle)
    page.mouse.down()
    for k in (3, 7, 12, 6):
        page.mouse.move(box["x"] + box["width"] * (k - 1) / 19, middle, steps=4)
        shows(page, k)
        assert page.url == before  # nothing was let go yet
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"[?&]k=6"))
    page.reload()
    shows(page, 6)
    page.locator(SLIDER).press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"[?&]k=5"))
    shows(page, 5)
    page.go_back()
    shows(page, 6)
    expect(page).to_have_url(re.compile(r"[?&]k=6"))


def test_a_lasso_selects_what_is_in_it_for_whoever_has_the_link(world: World, page: Page, browser: Browser) -> None:
    explore(page, f"{MODEL}&k=3")
    places = world.places
    middle = place_on_map(page, "prototype-12")
    away = np.abs(Screen(page, places).of(places) - middle).max(axis=1)
    outline(page, middle, REACH)
    expect(page).to_have_url(re.compile("select=lasso"))
    heading = page.get_by_role("heading", name=re.compile(rf"^[\d,]+ images of {ALL}$"))
    expect(heading).to_be_visible()
    count = int(heading.inner_text().split(" ")[0].replace(",", ""))
    assert (away < REACH - EDGE).sum() <= count <= (away < REACH + EDGE).sum()
    assert 0 < count < 70_000
    told = f"{count:,} images of {ALL}"
    page.reload()
    expect(heading).to_have_text(told)
    with watched(browser, world.address) as other:
        other.goto(page.url)
        expect(other.get_by_role("heading", name=told)).to_be_visible()
    page.get_by_role("button", name="Clear", exact=True).click()
    shows(page, 3)
    expect(page).not_to_have_url(re.compile("select="))
    page.go_back()
    expect(heading).to_have_text(told)


def drawn_along(page: Page, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(N,) whether something is painted over the dots at each pixel of a line, without its ends."""
    length = float(np.linalg.norm(end - start))
    steps = np.arange(THUMBNAIL, length - SQUARE)[:, None] / length
    points = start + steps * (end - start)
    alpha = page.evaluate(
        """(points) => {
          const over = document.querySelector('.kx-map-over');
          const box = over.getBoundingClientRect();
          const ratio = over.width / box.width;
          const pixels = over.getContext('2d').getImageData(0, 0, over.width, over.height);
          const at = (x, y) => Math.round(ratio * (y - box.top)) * over.width + Math.round(ratio * (x - box.left));
          return points.map(([x, y]) => pixels.data[4 * at(x, y) + 3]);
        }""",
        points.tolist(),
    )
    return np.array(alpha) > 0


def test_a_picture_lands_on_the_map_with_lines_and_stays(world: World, page: Page, browser: Browser) -> None:
    explore(page, f"{MODEL}&k=5")
    conversion = world.subject.conversion(KMeans(5)).get()
    screen = Screen(page, world.places)
    prototypes = np.array([place_on_map(page, f"prototype-{p}") for p in range(50)])
    tests = screen.of(world.places[60_000:])
    nearest = conversion.test_activated
    image = int(np.linalg.norm(tests - prototypes[nearest], axis=1).argmax())  # with a long line
    picture = world.subject.data.split("test").image(image)
    with page.expect_response(re.compile(r"/board/[0-9a-f]+\.json")) as answer:
        drop(page, encoded(picture), "mine.png")
    board = answer.value.json()
    assert board["lines"][0] == nearest[image]
    verdict = page.locator(".kx-board-body")
    expect(verdict).to_contain_text("predict")
    expect(page.locator(".kx-board figcaption").first).to_contain_text("mine.png")
    expect(page).to_have_url(re.compile(r"picture=[0-9a-f]{8,}"))
    landed = screen.of(np.array(board["place"]))
    for p in board["lines"]:
        assert drawn_along(page, landed, prototypes[p]).all()
    page.reload()
    expect(verdict).to_contain_text("predict")
    with watched(browser, world.address) as other:
        other.goto(page.url)
        expect(other.locator(".kx-board-body")).to_contain_text("predict")
    page.get_by_role("button", name="Remove picture").click()
    expect(page).not_to_have_url(re.compile("picture="))
    shows(page, 5)
    assert not drawn_along(page, landed, prototypes[nearest[image]]).all()


def test_an_edit_is_scored_undone_done_again_and_kept(world: World, page: Page) -> None:
    explore(page, f"{MODEL}&k=3&point=prototype-1.0")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("button", name="Hide", exact=True).click()
    scores = page.locator(".kx-edit-scores")
    expect(scores).to_contain_text("Accuracy")
    parts = scores.get_by_role("columnheader", name=re.compile("Scored|Untouched")).all_inner_texts()
    images = [int("".join(re.findall(r"\d", part))) for part in parts]
    assert sum(images) == 10_000
    assert abs(images[0] - images[1]) <= 10  # half of each class
    shows(page, 3, hidden=1)
    page.get_by_role("button", name="Undo").click()
    expect(scores).to_be_hidden()
    shows(page, 3)
    page.get_by_role("button", name="Redo").click()
    expect(scores).to_be_visible()
    shows(page, 3, hidden=1)
    page.reload()  # what is not saved is not lost
    expect(scores).to_be_visible()
    shows(page, 3, hidden=1)
