"""Metrics measured from the page, models compared: what only a browser shows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kmex_core.base.store import Store
from kmex_core.metrics.types import MapScores
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.browser import no_sideways_scrolling, open_page, serious, settled

pytestmark = pytest.mark.browser

K = 2


@pytest.fixture(scope="module")
def _measured(demo_cache: Path) -> Iterator[MapScores]:
    """Maps of 100 images, measured for `K`; gone afterwards."""
    store = Store(demo_cache)
    info = models.describe(store, "digits")
    data = dataset_of(info)
    found = Subject(store, info, data).relevance_scores(KMeans(K), images=100).get_or_why_not()
    assert isinstance(found, MapScores)
    yield found
    store.path("evaluations", Subject(store, info, data).relevance_scores(KMeans(K), images=100).spec.key).unlink()


@pytest.mark.slow  # that a job survives a reload is seen in test_preparation and test_models, too
def test_measuring_survives_a_reload_and_ends_with_figures(page: Page) -> None:
    open_page(page, "/audit?k=1")
    page.get_by_role("button", name="Measure relevance maps of digits").click()
    expect(page.get_by_text("Measuring relevance maps of digits on 100 test images.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Measuring relevance maps of digits on 100 test images.")).to_be_visible()
    expect(page.get_by_text("Best and worst images")).to_be_visible(timeout=180_000)
    expect(page.get_by_role("button", name="Measure relevance maps of digits")).to_have_count(0)
    settled(page)
    assert no_sideways_scrolling(page)


def test_a_count_leads_to_its_images_by_keyboard(page: Page) -> None:
    open_page(page, "/audit?k=2")
    page.get_by_text("Confusion matrix", exact=True).click()
    count = page.get_by_role("link", name=re.compile("^3 predicted as 3: "))
    expect(count).to_be_visible()
    settled(page)
    assert serious(page) == []
    count.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(
        re.compile(r"/explore\?.*select=class(:|%3A)3&select=predicted(:|%3A)3&select=split(:|%3A)test")
    )
    page.go_back()
    expect(page.get_by_role("heading", name="Audit", exact=True)).to_be_visible()


def test_measuring_can_be_stopped_and_goes_on(page: Page) -> None:
    open_page(page, "/audit?k=3&images=300")
    page.get_by_role("button", name="Measure relevance maps of digits").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped. Finished work is kept.")).to_be_visible()
    expect(page.get_by_role("button", name="Continue")).to_be_visible()


@pytest.mark.slow  # measures maps of 100 images first
@pytest.mark.usefixtures("_measured")
def test_best_and_worst_images_lead_to_their_explanation(page: Page) -> None:
    open_page(page, f"/audit?k={K}&extremes=true")
    expect(page.get_by_text("Best and worst images by")).to_be_visible()
    expect(page.locator(".kx-figures img[alt*='test image']")).to_have_count(6)
    expect(page.locator(".kx-figures canvas[aria-label*='test image']")).to_have_count(12)
    settled(page)
    assert serious(page) == []
    page.get_by_text("Distribution over images").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Scores per image as CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert len(rows) == 100
    assert all(0 <= float(row["drop"]) <= 1 for row in rows)
    link = page.get_by_role("link", name=re.compile("Test image")).first
    number = re.findall(r"Test image ([\d,]+)", link.inner_text())[0]
    link.click()
    expect(page.locator(".kx-file")).to_have_text(f"Test image {number.replace(',', '')}")
    expect(page.get_by_role("spinbutton", name=re.compile("Test image"))).to_have_value(number.replace(",", ""))


@pytest.mark.slow  # measures maps of 100 images first
@pytest.mark.usefixtures("_measured")
def test_a_comparison_can_be_kept_in_every_form(page: Page) -> None:
    open_page(page, f"/compare?k={K}")
    page.get_by_text("Strengths and weaknesses in one figure").click()
    expect(page.get_by_text("Radar as CSV")).to_be_visible()
    settled(page)
    for name, first in (("Table as CSV", "model,source,dataset"), ("Table as LaTeX", r"\begin{tabular}")):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert Path(download.value.path()).read_text().startswith(first)
    for kind, title, start in (("PNG", "Download plot as a PNG", b"\x89PNG"), ("SVG", "Download plot", b"<svg")):
        page.get_by_text(kind, exact=True).click()
        settled(page)
        # Plotly says so once it is drawn for this kind
        camera = page.locator(f".st-key-radar .modebar-btn[data-title='{title}']")
        expect(camera).to_be_attached()
        chart = page.locator(".st-key-radar .js-plotly-plot")
        expect(chart).to_have_count(1)  # the one of before may not be gone yet
        chart.hover()
        with page.expect_download() as download:
            camera.click()
        assert Path(download.value.path()).read_bytes().startswith(start)
