"""A browser, and how long it takes until a page shows what an event has asked for, measured in the page itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

# the first is Chromium without its own windows, menus and background services, at half the processor time per page
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
WAIT = 120_000  # milliseconds
_OPTIONS = ["--no-sandbox", "--disable-gpu"]
_WINDOW: ViewportSize = {"width": 1440, "height": 900}
_WATCH = """() => {
  const shown = (start, holds) => new Promise((done) => {
    const look = () => requestAnimationFrame(() => {
      if (!holds()) look();
      else requestAnimationFrame(() => done((performance.now() - start) / 1000)); // the screen has it now
    });
    look();
  });
  window.watchFor = (kind, conditions) => {
    window.found = new Promise((done) => {
      const seen = ({ timeStamp }) => done(Promise.all(conditions.map((holds) => shown(timeStamp, holds))));
      document.addEventListener(kind, seen, { capture: true, once: true });
    });
  };
}"""


@contextmanager
def opened() -> Iterator[Browser]:
    """Headless Chromium.

    Raises:
        SystemExit: when there is none.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened_with(profile: Path) -> Iterator[Page]:
    """A page of headless Chromium that keeps what it is sent in a folder, as people's browsers do.

    Raises:
        SystemExit: see `opened`.
    """
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=_program(), args=_OPTIONS, bypass_csp=True, viewport=_WINDOW
        )
        try:
            yield context.new_page()
        finally:
            context.close()


def _program() -> str:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("There is no Chromium here: install Debian's package chromium-headless-shell.")
    return path


def new_page(browser: Browser) -> Page:
    """A page in which `until_shown` can measure."""
    return browser.new_page(bypass_csp=True, viewport=_WINDOW)


def until_shown(page: Page, kind: str, act: Callable[[], Any], *conditions: str) -> list[float]:
    """Seconds from the next event of a kind to the frame that has each condition, in JavaScript, on the screen.

    Args:
        page: see `new_page`.
        kind: of the event: "click", "pointermove", "drop".
        act: causes it.
        conditions: cheap ones, as they are looked at in each frame.
    """
    if not page.evaluate("'watchFor' in window"):
        page.evaluate(_WATCH)
    page.evaluate(f"() => {{ window.watchFor({kind!r}, [{', '.join(f'() => {each}' for each in conditions)}]); }}")
    act()
    seconds: list[float] = page.evaluate("window.found")
    return seconds
