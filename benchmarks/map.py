"""How long a person waits on Explore with 60,000 images and on the gallery, in headless Chromium on this machine."""

from __future__ import annotations

import dataclasses
import itertools
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
from playwright.sync_api import Page, sync_playwright

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


KS = range(1, 11)
COLOURS = ("Class", "Right / wrong", "Prototype", "Confidence")
_PRESS = """async (key) => {
  const frame = () => new Promise(requestAnimationFrame);
  const start = performance.now();
  document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  await frame();  // the map draws in this one, as it has asked before
  await frame();  // and the screen has it in this one
  return (performance.now() - start) / 1000;
}"""
_FRAMES = """() => {
  window.frames = [];
  const frame = (now) => { window.frames.push(now); window.counting = requestAnimationFrame(frame); };
  window.counting = requestAnimationFrame(frame);
}"""


def _drawn(prototypes: int) -> str:
    return (
        "(document.querySelector('.kx-map canvas[role=img]')?.getAttribute('aria-label') ?? '')"
        f".includes(' and {prototypes} prototypes')"
    )


def _p95(values: list[float]) -> float:
    return round(sorted(values)[int(0.95 * (len(values) - 1))], 3)


def explore(page: Page, address: str, classes: int) -> list[dict[str, Any]]:
    """Steps of the timeline in each colouring, and dragging the map, with layers that are here.

    Args:
        page: of a browser.
        address: of Explore with `k=1`.
        classes: how many the model has.
    """
    page.goto(address)
    page.wait_for_function(_drawn(classes), timeout=WAIT)
    slider = page.locator(".kx-timeline-slider")
    for k in KS[1:]:  # fetched now
        slider.press("ArrowRight")
        page.wait_for_function(_drawn(classes * k), timeout=WAIT)
    rows = []
    for colour in COLOURS:
        page.get_by_role("button", name=colour, exact=True).click()
        time.sleep(2)
        slider.focus()
        seconds = []
        for key in ("ArrowLeft", "ArrowRight") * 2:
            for _ in KS[1:]:
                seconds.append(page.evaluate(_PRESS, key))
                time.sleep(0.1)
        what = f"a step of the timeline, coloured by {colour.lower()}: to the frame that shows it"
        rows.append(row(what, seconds, 0.05) | {"p95": _p95(seconds)})
    box = page.locator(".kx-map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(_FRAMES)
    for step in range(100):
        page.mouse.move(x + step, y + step / 2)
        time.sleep(0.016)
    frames = page.evaluate("() => { cancelAnimationFrame(window.counting); return window.frames; }")
    page.mouse.up()
    seconds = [float(after - before) / 1000 for before, after in itertools.pairwise(frames)]
    return [*rows, row("dragging the map: a frame", seconds, 0.05) | {"p95": _p95(seconds)}]


def _until(page: Page, condition: str, act: Callable[[], object]) -> float:
    time.sleep(0.7)  # from a page at rest
    started = time.perf_counter()
    act()
    page.wait_for_function(condition, timeout=WAIT, polling="raf")
    return time.perf_counter() - started


def measure() -> list[dict[str, Any]]:
    """The timeline and the map of Explore, and a gallery of 100."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("There is no chromium here: install Debian's package chromium.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = prepare(Path(folder))
        server = start_server(store.root)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            until_up()
            page = browser.new_page(bypass_csp=True, viewport={"width": 1440, "height": 900})
            found = explore(page, f"{ADDRESS}/explore?dataset={Path(folder).name}&model={NAME}&k=1", 10)
            page.goto(f"{ADDRESS}/explain?dataset={Path(folder).name}&model={NAME}&k=10")
            page.get_by_role("link", name="Prototypes", exact=True).wait_for(timeout=WAIT)
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
    return [*found, row("a gallery of 100 prototypes: click to all cards", gallery, 1)]
