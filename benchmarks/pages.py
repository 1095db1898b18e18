"""How long a person waits, in headless Chromium on this machine, on the demo with a warm store."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from benchmarks.browser import WAIT, opened
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

ROOT = Path(__file__).resolve().parent.parent
PORT = 8597
ADDRESS = f"http://127.0.0.1:{PORT}"


@contextmanager
def serving(cache: Path) -> Iterator[None]:
    """The dashboard's server on the store `cache`, once it answers."""
    server = start_server(cache)
    try:
        until_up()
        yield
    finally:
        server.terminate()
        server.wait()


def start_server(cache: Path) -> subprocess.Popen[bytes]:
    """The dashboard's server on the store `cache`."""
    command = [sys.executable, "-m", "streamlit", "run", "app/Home.py", "--server.port", str(PORT)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"KMEX_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def until_up() -> None:
    """Wait until the server answers."""
    while True:
        try:
            urllib.request.urlopen(f"{ADDRESS}/_stcore/health", timeout=1)
            return
        except OSError:
            time.sleep(0.02)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def row(what: str, seconds: list[float], target: float, unit: str = "s") -> dict[str, Any]:
    """A line of the results: median, 95th percentile and worst of what was measured, beside the target."""
    return {
        "what": what,
        "median": round(statistics.median(seconds), 3),
        "p95": round(sorted(seconds)[int(0.95 * (len(seconds) - 1))], 3),
        "worst": round(max(seconds), 3),
        "runs": len(seconds),
        "unit": unit,
        "target": target,
    }


def _slide(page: Page, key: str, cards: int) -> float:
    time.sleep(0.7)  # from a page at rest: the pictures of the last slide have come
    slider = page.get_by_role("slider", name="Prototypes per class")
    slider.focus()

    def go() -> None:
        slider.press(key)
        page.wait_for_function(f"document.querySelectorAll('.kx-card').length === {cards}", timeout=WAIT, polling="raf")

    return _seconds(go)


def measure() -> list[dict[str, Any]]:
    """The gallery of prototypes with a new and a known number of them; starts are in `start`, uploads in `board`."""
    with tempfile.TemporaryDirectory() as folder, opened() as browser:
        store = Store(Path(folder))
        info = models.describe(store, "digits")
        Subject(store, info, dataset_of(info)).conversion(KMeans(5)).get()
        with serving(store.root):
            page = browser.new_page(bypass_csp=True)
            page.goto(f"{ADDRESS}/prototypes?model=digits")
            page.wait_for_selector(".kx-card", timeout=WAIT)
            time.sleep(5)
            new = [_slide(page, "ArrowRight", 10 * k) for k in range(6, 16)]
            known = [_slide(page, "ArrowLeft", 10 * k) for k in range(14, 4, -1)]
    return [
        row("a new number of prototypes per class: key press to the new gallery", new, 1),
        row("a number seen before: key press to the new gallery", known, 0.3),
    ]
