"""How long a person waits, in headless Chromium on this machine, on the demo with a warm store."""

from __future__ import annotations

import io
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

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from benchmarks.browser import WAIT, opened
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.display import png
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

ROOT = Path(__file__).resolve().parent.parent
PORT = 8597
ADDRESS = f"http://127.0.0.1:{PORT}"
MAPS = 8


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


def _cold_start(page: Page, cache: Path) -> tuple[float, subprocess.Popen[bytes]]:
    started = time.perf_counter()
    server = start_server(cache)
    until_up()
    page.goto(ADDRESS)
    page.wait_for_selector(".kx-card", timeout=WAIT)
    return time.perf_counter() - started, server


def measure() -> list[dict[str, Any]]:
    """Cold start, a new and a known number of prototypes, an explained upload."""
    with tempfile.TemporaryDirectory() as folder, opened() as browser:
        cache = Path(folder)
        store = Store(cache)
        info = models.describe(store, "digits")
        Subject(store, info, dataset_of(info)).conversion(KMeans(5)).get()
        cold = []
        for _ in range(3):
            page = browser.new_page(bypass_csp=True)
            seconds, server = _cold_start(page, cache)
            cold.append(seconds)
            if len(cold) < 3:
                page.close()
                server.terminate()
                server.wait()
        try:
            time.sleep(5)
            new = [_slide(page, "ArrowRight", 10 * k) for k in range(6, 16)]
            known = [_slide(page, "ArrowLeft", 10 * k) for k in range(14, 4, -1)]
            upload, first = _uploads(page, _digits())
            straight = _uploads(browser.new_page(bypass_csp=True), _digits())[1]
            photos, first_photo = _uploads(browser.new_page(bypass_csp=True), _photos())
        finally:
            server.terminate()
            server.wait()
    return [
        row("cold start to the first figure: server process, page, gallery", cold, 8),
        row("a new number of prototypes per class: key press to the new gallery", new, 1),
        row("a number seen before: key press to the new gallery", known, 0.3),
        row("an upload: file to all maps", upload, 2),
        row("the first upload after a test image was explained: file to all maps", first, 2),
        row("an upload of 12 megapixels: file to all maps", [*photos, *first_photo], 2.5),
        row("an upload as the first thing in a new browser", straight, 2),
    ]


def _digits() -> list[tuple[str, bytes]]:
    test = datasets.load(DatasetSpec("digits")).split("test")
    return [(f"upload-{index}.png", png(np.asarray(test.image(index)))) for index in range(6)]


def _photos() -> list[tuple[str, bytes]]:
    """Pictures of 12 megapixels with the detail of photos."""
    photos = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        coarse = Image.fromarray(random.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = smooth + random.integers(-12, 12, smooth.shape, dtype=np.int16)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        photos.append((f"photo-{seed}.jpg", buffer.getvalue()))
    return photos


def _uploads(page: Page, files: list[tuple[str, bytes]]) -> tuple[list[float], list[float]]:
    """Seconds of further uploads and of the first; by way of a test image where the page is open, else by a link."""
    if page.url.startswith(ADDRESS):
        page.get_by_role("link", name="Explain").click()
        page.locator(".kx-map-row").first.wait_for(timeout=WAIT)
        page.get_by_text("Upload", exact=True).click()
    else:
        page.goto(f"{ADDRESS}/explain?source=Upload")
    seconds = []
    for name, content in files:

        def go(name: str = name, content: bytes = content) -> None:
            kind = "image/png" if name.endswith("png") else "image/jpeg"
            page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})
            page.locator(".kx-file", has_text=name).wait_for(timeout=WAIT)
            page.wait_for_function(
                f"document.querySelectorAll('.kx-figures canvas').length >= {MAPS}",
                timeout=WAIT,
                polling="raf",
            )

        page.locator("input[type=file]").wait_for(state="attached")
        seconds.append(_seconds(go))
    return seconds[1:], seconds[:1]
