"""Addresses in a real browser: what they name, after a reload, in a second browser, with the back button."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import CARDS, explained, settled, slide

pytestmark = pytest.mark.browser


def named(page: Page) -> dict[str, str]:
    """What the address names."""
    return {key: values[-1] for key, values in parse_qs(urlparse(page.url).query, keep_blank_values=True).items()}


def waits_for(page: Page, **query: str) -> None:
    for key, value in query.items():
        expect(page).to_have_url(re.compile(rf"[?&]{key}={value}(&|$)"))


def test_the_address_names_the_selection_and_survives_a_reload(page: Page) -> None:
    page.goto("/models?model=faces")
    waits_for(page, model="faces", dataset="Faces", k="5")
    page.reload()
    settled(page)
    expect(page.get_by_role("combobox", name=re.compile("Model"))).to_have_value("faces")
    assert named(page) == {"model": "faces", "dataset": "Faces", "k": "5"}
    page.goto("/models")
    waits_for(page, model="faces", dataset="Faces", k="5")


def test_the_selection_goes_along_and_comes_back(page: Page) -> None:
    page.goto("/prototypes?model=digits")
    expect(page.locator(CARDS)).to_have_count(50)
    slide(page, -3)
    expect(page.locator(CARDS)).to_have_count(20)
    waits_for(page, k="2", model="digits")
    page.get_by_role("link", name="Explain").click()
    explained(page)
    waits_for(page, k="2", model="digits", dataset="Digits")
    page.get_by_role("button", name=re.compile("Random mistake")).click()
    expect(page.get_by_text(re.compile("wrong"))).not_to_have_count(0)
    explained(page)
    image = named(page)["image"]
    page.get_by_role("link", name="Prototypes", exact=True).click()
    expect(page.locator(CARDS)).to_have_count(20)
    waits_for(page, k="2")
    assert "image" not in named(page)
    page.locator(CARDS).nth(5).click()
    waits_for(page, prototype=r"2\.1")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"^Prototype \d"))
    settled(page)
    page.go_back()
    expect(page.locator(CARDS)).to_have_count(20)
    assert "prototype" not in named(page)
    page.go_back()
    explained(page)
    waits_for(page, k="2", model="digits", image=image)


def test_a_page_shows_what_was_chosen_there_when_it_was_left(page: Page) -> None:
    page.goto("/explain?image=7&k=3&model=digits")
    explained(page)
    page.get_by_role("link", name="Prototypes", exact=True).click()
    expect(page.locator(CARDS)).to_have_count(30)
    page.get_by_role("combobox", name=re.compile("Order")).click()
    page.get_by_role("option", name="Least important first").click()
    waits_for(page, order="Least\\+important\\+first")
    settled(page)
    page.get_by_role("link", name="Explain").click()
    explained(page)
    waits_for(page, k="3", image="7")
    field = page.get_by_role("spinbutton", name=re.compile("Test image"))
    expect(field).to_have_value("7")
    assert "order" not in named(page)
    page.get_by_role("link", name="Prototypes", exact=True).click()
    waits_for(page, order="Least\\+important\\+first")
    settled(page)
    page.go_back()
    for _ in range(2):  # what the page came back to takes a step or two, as often as Streamlit wrote the address
        settled(page)
        if "/prototypes" not in page.url:
            break
        page.go_back()
    explained(page)
    expect(field).to_have_value("7")


def test_back_to_an_address_that_names_nothing_ends_where_one_came_from(page: Page) -> None:
    page.goto("/explain?k=3&image=4&model=digits")
    explained(page)
    page.goto("/prototypes")
    expect(page.locator(CARDS)).to_have_count(15)
    waits_for(page, k="5")
    settled(page)
    for _ in range(3):  # the page itself may take one of them
        page.go_back()
        settled(page)
        if "/explain" in page.url:
            break
        waits_for(page, dataset="Faces", model="faces", k="5")
    explained(page)
    assert named(page).items() >= {"k": "3", "image": "4"}.items()


def test_a_link_to_what_is_not_here_says_so_in_any_browser(page: Page, browser: Browser, server: str) -> None:
    page.goto("/prototypes?model=gone&k=7")
    expect(page.get_by_text("The store has no model named 'gone'")).to_be_visible()
    settled(page)
    assert named(page).items() >= {"model": "gone", "k": "7"}.items()
    page.reload()
    expect(page.get_by_text("The store has no model named 'gone'")).to_be_visible()
    context = browser.new_context(base_url=server)
    other = context.new_page()
    other.goto(page.url)
    expect(other.get_by_text("The store has no model named 'gone'")).to_be_visible(timeout=60_000)
    context.close()
    page.get_by_role("button", name="digits", exact=True).click()
    expect(page.locator(CARDS)).to_have_count(70)
    waits_for(page, model="digits", k="7")
    page.reload()
    expect(page.locator(CARDS)).to_have_count(70)


def test_an_image_that_is_not_here_is_said_and_the_address_follows(page: Page) -> None:
    page.goto("/explain?image=inf&k=0&model=digits")
    explained(page)
    expect(page.get_by_text("image 'inf', which is not available")).to_be_visible()
    expect(page.get_by_text("k '0', which is not available")).to_be_visible()
    field = page.get_by_role("spinbutton", name=re.compile("Test image"))
    field.fill("7")
    field.press("Enter")
    waits_for(page, image="7", k="5")
    expect(page.get_by_text("image 'inf'")).to_have_count(0)
    slide(page, 1)
    waits_for(page, image="7", k="6")
    page.reload()
    explained(page)
    expect(field).to_have_value("7")
    expect(page.get_by_role("slider", name="Prototypes per class")).to_have_value("6")


def test_an_old_address_leads_to_explore(page: Page) -> None:
    page.goto("/embedding?model=digits&show=Wrong&point=train-12")
    waits_for(page, model="digits", show="wrong", point="train-12", k="5")
    assert "/explore?" in page.url


def test_what_is_picked_among_models_is_in_the_link(page: Page) -> None:
    page.goto("/models?chosen=digits-flint")
    expect(page.get_by_role("button", name="Open in Explore")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Open in Explore")).to_be_visible()
    page.get_by_role("button", name="Open in Explore").click()
    waits_for(page, model="digits-flint", k="5")
