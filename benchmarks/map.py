"""How long a person waits on the map of 60,000 images and on the gallery, in headless Chromium on this machine."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Page, WebSocket, sync_playwright

from benchmarks.pages import ADDRESS, WAIT, row, start_server, until_up
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.data.display import png
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

IMAGES = 60_000
NAME = "many"


def _write_split(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    images = [{"bytes": png(image), "path": f"{i}.png"} for i, image in enumerate(pixels)]
    column = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    features = {"image": {"_type": "Image"}, "label": {"names": list("0123456789"), "_type": "ClassLabel"}}
    table = pa.table({"image": column, "label": labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)


def prepare(folder: Path) -> Store:
    """A store with the digits' network on 60,000 digits: each training image of the demo 46 times, with noise."""
    digits = datasets.load(DatasetSpec("digits"))
    random = np.random.default_rng(0)
    for split, count in (("train", IMAGES), ("test", 1000)):
        own = digits.split(split)
        rows = np.arange(count) % len(own)
        pixels = np.stack([own.image(int(at)) for at in range(len(own))])[rows].astype(float)
        noisy = np.clip(pixels + random.normal(0, 25, pixels.shape), 0, 255).astype(np.uint8)
        _write_split(folder / f"{split}.parquet", noisy, own.labels[rows])
    store = Store(folder / "store")
    black_box = models.load(store, "digits")
    info = dataclasses.replace(black_box.info, name=NAME, dataset=str(folder), embedded=False)
    models.save(store, info, black_box.model)
    data = dataset_of(info)
    Subject(store, info, data).embedding_map().get()
    for k in range(1, 11):
        Subject(store, info, data).conversion(KMeans(k)).get()
    return store


def _drawn(prototypes: int) -> str:
    return (
        "(document.querySelector('.kx-map canvas[role=img]')?.getAttribute('aria-label') ?? '')"
        f".includes(' and {prototypes} prototypes')"
    )


def _until(page: Page, condition: str, act: Callable[[], object]) -> float:
    time.sleep(0.7)  # from a page at rest
    started = time.perf_counter()
    act()
    page.wait_for_function(condition, timeout=WAIT, polling="raf")
    return time.perf_counter() - started


def measure() -> list[dict[str, Any]]:
    """Sliding, changing pages, a gallery of 100, and what goes over the websocket."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("There is no chromium here: install Debian's package chromium.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = prepare(Path(folder))
        server = start_server(store.root)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            until_up()
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            seen = io.BytesIO()
            page.on("websocket", lambda socket: _listen(socket, seen))
            page.goto(f"{ADDRESS}/embedding?dataset={Path(folder).name}&model={NAME}&k=1")
            page.wait_for_function(_drawn(10), timeout=WAIT)
            slider = page.get_by_role("slider", name="Prototypes per class")
            ks = [*range(2, 11), *range(9, 0, -1)]
            slides, sizes = [], []
            for turn in range(2):  # the first time a layer is fetched
                for before, k in zip([1, *ks], ks, strict=False):
                    slider.focus()
                    at = seen.tell()
                    key = "ArrowRight" if k > before else "ArrowLeft"
                    seconds = _until(page, _drawn(10 * k), lambda key=key: slider.press(key))  # type: ignore[misc]
                    if turn:
                        slides.append(seconds)
                        sizes.append((seen.tell() - at) / 1000)
            changes: dict[str, list[float]] = {"Overview": [], "Embedding": []}
            for _ in range(5):
                for link, shown in (("Overview", "!!document.querySelector('.kx-card')"), ("Embedding", _drawn(10))):
                    changes[link].append(_until(page, shown, page.get_by_role("link", name=link, exact=True).click))
            page.goto(f"{ADDRESS}/?dataset={Path(folder).name}&model={NAME}&k=10")
            page.wait_for_selector(".kx-card", timeout=WAIT)
            time.sleep(2)
            pictures = "[...document.querySelectorAll('.kx-card')].length === 100"
            gallery = [_until(page, pictures, page.get_by_role("link", name="Prototypes", exact=True).click)]
            for _ in range(4):
                page.get_by_role("link", name="Explain", exact=True).click()
                page.wait_for_function("!document.querySelector('.kx-gallery')", timeout=WAIT)
                gallery.append(_until(page, pictures, page.get_by_role("link", name="Prototypes", exact=True).click))
        finally:
            server.terminate()
            server.wait()
            browser.close()
    p95 = sorted(slides)[int(0.95 * (len(slides) - 1))]
    return [
        row("map of 60,000 images, a number of prototypes seen before: key press to the new map", slides, 0.3)
        | {"p95": round(p95, 3)},
        row("the same: sent over the websocket", sizes, 50, "kB"),
        row("from the map to Overview: click to its gallery", changes["Overview"], 0.7),
        row("from Overview to the map: click to the map", changes["Embedding"], 0.7),
        row("a gallery of 100 prototypes: click to all cards", gallery, 1),
    ]


def _listen(socket: WebSocket, seen: io.BytesIO) -> None:
    def count(content: bytes | str) -> None:
        seen.write(content if isinstance(content, bytes) else content.encode())

    socket.on("framereceived", count)
    socket.on("framesent", count)
