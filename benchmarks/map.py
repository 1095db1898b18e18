"""How long a person waits on Explore with 60,000 images and on the gallery, in headless Chromium on this machine."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Page

from app.selection import SWEEP_SEEDS
from benchmarks.browser import WAIT, new_page, opened, until_shown
from benchmarks.pages import ADDRESS, row, serving
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
    subject = Subject(store, info, dataset_of(info))
    subject.embedding_map().get()
    for seed in SWEEP_SEEDS:
        subject.sweep(KMeans(1, seed)).get()
    subject.suggestion().get()
    return store


KS = range(1, 11)
REACH = 20  # of the timeline
COLOURS = ("Class", "Right / wrong", "Prototype", "Confidence")
_FRAMES = """() => {
  window.frames = [];
  const frame = (now) => { window.frames.push(now); window.counting = requestAnimationFrame(frame); };
  window.counting = requestAnimationFrame(frame);
}"""


def map_shows(prototypes: int) -> str:
    """Whether the map of Explore has so many prototypes, in JavaScript."""
    return (
        "(document.querySelector('.kx-map canvas[role=img]')?.getAttribute('aria-label') ?? '')"
        f".includes(' and {prototypes} prototypes')"
    )


def _panel_shows(k: int) -> str:
    return f"document.querySelectorAll('.kx-proto-class:first-child .kx-proto').length === {k}"


def explore(page: Page, address: str, classes: int, limit: float = 0.05) -> list[dict[str, Any]]:
    """Dragging the timeline in each colouring, and dragging the map, with layers that are here.

    Args:
        page: of `browser.new_page`.
        address: of Explore with `k=1`.
        classes: how many the model has.
        limit: seconds that a step may take.
    """
    page.goto(address)
    page.locator(".kx-timeline").hover()  # then numbers that were not converted come ahead, too
    page.wait_for_function(f"document.querySelectorAll('.kx-timeline .kx-ready').length === {REACH}", timeout=WAIT)
    box = page.locator(".kx-timeline-scale").bounding_box()
    assert box is not None
    x, y, step = box["x"], box["y"] + box["height"] / 2, box["width"] / (REACH - 1)
    rows = []
    for colour in COLOURS:
        page.get_by_role("button", name=colour, exact=True).click()
        time.sleep(2)
        page.mouse.move(x, y)
        page.mouse.down()
        seconds = []
        for k in [*KS[1:], *KS[-2::-1]] * 3:
            time.sleep(0.2)  # from a page at rest
            shown = f"{map_shows(classes * k)} && {_panel_shows(k)}"
            seconds += until_shown(page, "pointermove", partial(page.mouse.move, x + step * (k - 1), y), shown)
        page.mouse.up()
        what = f"a step of dragging the timeline, coloured by {colour.lower()}: to the frame with its map and panel"
        rows.append(row(what, seconds, limit))
    return [*rows, row("dragging the map: a frame", frames(page, dragged), 0.05)]


def frames(page: Page, move: Callable[[Page, float, float], object]) -> list[float]:
    """Seconds of each frame while something moves on the map, from a third of its width on."""
    box = page.locator(".kx-map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.evaluate(_FRAMES)
    move(page, x, y)
    seen = page.evaluate("() => { cancelAnimationFrame(window.counting); return window.frames; }")
    return [float(after - before) / 1000 for before, after in itertools.pairwise(seen)]


def dragged(page: Page, x: float, y: float) -> None:
    """Drag the map from a point on."""
    page.mouse.down()
    for step in range(100):
        page.mouse.move(x + step, y + step / 2)
        time.sleep(0.016)
    page.mouse.up()


def _until(page: Page, condition: str, act: Callable[[], object]) -> float:
    time.sleep(0.7)  # from a page at rest
    started = time.perf_counter()
    act()
    page.wait_for_function(condition, timeout=WAIT, polling="raf")
    return time.perf_counter() - started


def measure() -> list[dict[str, Any]]:
    """The timeline and the map of Explore, and a gallery of 100."""
    with tempfile.TemporaryDirectory() as folder, opened() as browser:
        store = prepare(Path(folder))
        with serving(store.root):
            page = new_page(browser)
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
    return [*found, row("a gallery of 100 prototypes: click to all cards", gallery, 1)]
