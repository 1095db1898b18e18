"""What the browser's tests wait for and hold a page to."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

CARDS = ".kx-card"
CANVAS = ".kx-map canvas[role=img]"
PICK = "Drop, paste or pick a picture"
SLIDER = ".kx-timeline-slider"
PROTOTYPES = ".kx-proto:visible"
LAST = {  # what a page shows last
    "/": "text=Data and models",
    "/explore": ".kx-timeline-scale",
    "/prototypes": ".kx-card",
    "/audit": "text=All numbers as CSV",
    "/attributes": "text=has no attributes",
    "/compare": "text=Strengths and weaknesses in one figure",
    "/explain": ".kx-maps summary",
    "/new": "text=Choose images to begin.",
    "/models": "text=Import weights",
}

expect.set_options(timeout=60_000)
A_PAGE = 60  # seconds
A_JOB = 240_000  # milliseconds that a page may wait for a job, which may wait for others on a busy machine


@contextmanager
def watched(browser: Browser, server: str, provoked: str = "", **options: Any) -> Iterator[Page]:
    """A page in a browser profile of its own, with `options` of Playwright's, watched as `visit` does."""
    context = browser.new_context(**{**profile(server), **options})
    try:
        with visit(context, server, provoked) as page:
            yield page
    finally:
        context.close()


def profile(server: str) -> dict[str, Any]:
    """The options of a browser profile for the pages of a server."""
    return {"viewport": {"width": 1440, "height": 900}, "base_url": server}


@contextmanager
def visit(context: BrowserContext, server: str, provoked: str = "") -> Iterator[Page]:
    """A new page. At its end, it must neither have logged an error (a breach of the Content-Security-Policy is one) nor
    have asked any other machine for anything, and all pages and what they stored are gone. The error `provoked` is one
    that a test brings about itself.
    """
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    asked: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on(
        "response", lambda answer: errors.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield opened
    finally:
        for page in context.pages:
            page.close()
        stored = {"origin": server, "storageTypes": "cookies,local_storage,indexeddb"}
        empty = context.new_page()
        context.new_cdp_session(empty).send("Storage.clearDataForOrigin", stored)
        empty.close()
    elsewhere = [url for url in asked if not url.startswith((server, "data:", "blob:", server.replace("http", "ws")))]
    assert elsewhere == [], elsewhere
    assert [error for error in errors if error != provoked] == []


def of_digits(path: str) -> str:
    """The path of a page with the digits, unless it names others."""
    if "model=" in path or "dataset=" in path:
        return path
    return f"{path}{'&' if '?' in path else '?'}model=digits"


def open_page(page: Page, path: str = "/prototypes") -> None:
    """Open a page with the digits, unless the path names others."""
    page.goto(of_digits(path))
    expect(page.get_by_role("slider", name="Prototypes per class")).to_be_visible()


def settled(page: Page) -> None:
    """Wait until the server has answered all that was asked of it, and nothing of the run before is left."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def slide(page: Page, steps: int) -> None:
    slider = page.get_by_role("slider", name="Prototypes per class")
    slider.focus()
    for _ in range(abs(steps)):
        slider.press("ArrowRight" if steps > 0 else "ArrowLeft")


def wait_until(page: Page, condition: str) -> None:
    """Wait until a condition holds, in JavaScript. `Page.wait_for_function` compiles its own again and again, which the
    dashboard's Content-Security-Policy does not allow.
    """
    ended = time.monotonic() + A_PAGE
    while not page.evaluate(condition):
        assert time.monotonic() < ended, f"not in {A_PAGE} seconds: {condition}"
        page.wait_for_timeout(50)


def place_on_map(page: Page, name: str) -> tuple[float, float]:
    """Where an image ("train-3", "test-7") or prototype ("prototype-12") of a map is in the window, once it rests."""
    x, y = page.evaluate(
        """async (name) => {
          const {placeIn} = await import(new URL('assets/map/component.js', document.baseURI));
          const now = () => placeIn(document.querySelector('.kx-map'), name);
          for (let last; String(last) !== String(now()); ) {
            last = now();
            await new Promise((go) => setTimeout(go, 200));
          }
          return now();
        }""",
        name,
    )
    return x, y


def explore(page: Page, query: str = "model=digits") -> None:
    """Open Explore, and wait until it shows what was asked for."""
    page.goto(f"/explore?{query}")
    expect(page.locator(SLIDER)).to_have_attribute("aria-busy", "false")
    settled(page)


def outline(page: Page, around: tuple[float, float], reach: float) -> None:
    """Draw a square around a place in the window, with Shift held."""
    x, y = around
    page.keyboard.down("Shift")
    page.mouse.move(x - reach, y - reach)
    page.mouse.down()
    for right, down in ((reach, -reach), (reach, reach), (-reach, reach), (-reach, -reach)):
        page.mouse.move(x + right, y + down, steps=6)
    page.mouse.up()
    page.keyboard.up("Shift")


_DROP = """([content, name]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: 'image/png' }));
  const target = document.querySelector('.kx-explore');
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
  }
}"""


def drop(page: Page, content: bytes, name: str) -> None:
    """Drop a file on Explore."""
    page.evaluate(_DROP, [base64.b64encode(content).decode(), name])


def explained(page: Page, timeout: float = A_PAGE * 1000) -> None:
    """Wait until the board has answered: the maps, and what each is worth."""
    expect(page.locator(".kx-maps summary").first).to_be_visible(timeout=timeout)
    expect(page.locator(".kx-board[aria-busy]")).to_have_count(0)
    expect(page.locator(".kx-contrast summary")).to_be_visible()
    settled(page)


FITS = """() => {
  const main = document.querySelector('[data-testid=stMain]');
  return main.scrollWidth <= main.clientWidth + 1;
}"""


def no_sideways_scrolling(page: Page) -> bool:
    return bool(page.evaluate(FITS))


def fits(page: Page, width: int, height: int) -> None:
    """Resize the window: once the page has followed, it must not scroll sideways."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(400)
    wait_until(page, FITS)


def serious(page: Page) -> list[str]:
    """What axe-core finds on a page that keeps people out."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
    return [
        f"{one['impact']}: {one['id']}, {one['help']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in ("critical", "serious")
        for node in one["nodes"]
    ]
