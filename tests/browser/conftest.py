"""A real server and a real browser. Where there is no Chromium the tests skip and say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.browser import BROWSERS
from tests.helpers.browser import profile, visit
from tests.helpers.servers import dashboard

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--force-prefers-reduced-motion"]  # animations without a GPU keep a core busy


@pytest.fixture(scope="session")
def server(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard on the demo."""
    with dashboard(demo_cache, tmp_path_factory.mktemp("server") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(
            "There is no Chromium here: install Debian's package chromium-headless-shell for the browser tests."
        )
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def _profile(browser: Browser, server: str) -> Iterator[BrowserContext]:
    """One browser profile for all pages: it has loaded and compiled the scripts once."""
    context = browser.new_context(**profile(server))
    yield context
    context.close()


@pytest.fixture
def page(_profile: BrowserContext, server: str) -> Iterator[Page]:
    """A page in a session of its own. It must neither log an error nor ask any other machine for anything."""
    with visit(_profile, server) as opened:
        yield opened
