"""Explore with 1,000,000 images, in headless Chromium on this machine: each digit of the demo 696 times, with noise."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from app.selection import SWEEP_SEEDS
from benchmarks.browser import WAIT, opened_with, until_shown
from benchmarks.map import dragged, explore, frames, map_shows
from benchmarks.pages import ADDRESS, row, start_server, until_up
from benchmarks.timing import times
from kmex_core.base.artifact import Artifact
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

IMAGES, TEST = 1_000_000, 10_000
NAME = "million"
KS = range(1, 21)
SLIDE, FRAMES = 0.3, 20  # the target of a step in seconds, and of frames a second
NOISE = 12  # of pixels, 0…255
APART = 0.15  # on the embedding map: how far the copies of an image lie from it


def prepare(folder: Path, images: int = IMAGES) -> Store:
    """A store with the digits' network and all that Explore shows of it, for the demo's images repeated with noise.

    What is stored is that of the demo, repeated as its images are; only the places of the copies differ.
    """
    digits = datasets.load(DatasetSpec("digits"))
    store, random = Store(folder / "store"), np.random.default_rng(0)
    rows = {
        split: np.concatenate([np.arange(own), random.integers(0, own, n - own)])  # the demo's own images first
        for split, n in (("train", images), ("test", TEST))
        for own in [len(digits.split(split))]
    }
    arrays: dict[str, Any] = {}
    for split, which in rows.items():
        own = digits.split(split)
        pixels = np.stack(list(own.images(range(len(own)))))[which]
        pixels += random.integers(0, NOISE, pixels.shape, dtype=np.uint8).clip(0, 255 - pixels)
        arrays |= {f"{split}_images": pixels, f"{split}_labels": own.labels[which]}
    np.savez(folder / f"{NAME}.npz", **arrays)
    black_box = models.load(store, "digits")
    demo = Subject(store, black_box.info, digits)
    info = dataclasses.replace(black_box.info, name=NAME, dataset=str(folder / f"{NAME}.npz"), embedded=False)
    models.save(store, info, black_box.model)
    _repeat(demo, Subject(store, info, dataset_of(info)), rows, random)
    return store


def _repeat(demo: Subject, large: Subject, rows: dict[str, np.ndarray], random: np.random.Generator) -> None:
    """Write the demo's results for its images repeated: `rows` of each split."""
    train, test = rows["train"], rows["test"]
    for split, which in rows.items():
        embedding = demo.embedding(split).get()
        _write(large.embedding(split), dataclasses.replace(embedding, **_taken(embedding, which)))
    _write(large.geometry(), demo.geometry().get())
    _write(large.suggestion(), demo.suggestion().get())
    for seed in SWEEP_SEEDS:
        sweep = demo.sweep(KMeans(1, seed)).get()
        _write(large.sweep(KMeans(1, seed)), dataclasses.replace(sweep, cluster=sweep.cluster[:, train]))
    projection = demo.embedding_map().get()
    both = np.concatenate([train, len(projection.train) + test])
    columns: dict[str, Any] = {name: getattr(projection, name)[both] for name in ("labels", "black_box", "far")}
    columns |= {split: _spread(getattr(projection, split), which, random) for split, which in rows.items()}
    _write(large.embedding_map(), dataclasses.replace(projection, **columns))
    for k in KS:
        conversion = demo.conversion(KMeans(k)).get()
        prototypes = conversion.prototypes
        repeated = len(train) // len(projection.train)
        prototypes = dataclasses.replace(
            prototypes,
            activated=prototypes.activated[train],
            count=prototypes.count * repeated,
            count_all=prototypes.count_all * repeated,
            class_size=prototypes.class_size * repeated,
        )
        of_test = {
            name: getattr(conversion, name)[test]
            for name in ("test_predicted", "test_activated", "test_black_box", "test_confidence", "test_likeliest")
        }
        changed = {"prototypes": prototypes, "train_predicted": conversion.train_predicted[train], **of_test}
        _write(large.conversion(KMeans(k)), dataclasses.replace(conversion, **changed))


def _spread(places: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Where copies lie on the embedding map: around the image that they are of, which stays where it is."""
    spread = places[rows] + random.normal(0, APART, (len(rows), 2))
    spread[: len(places)] = places
    return np.asarray(spread, dtype=np.float32)


def _taken(result: Any, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {field.name: getattr(result, field.name)[rows] for field in dataclasses.fields(result)}


def _write(artifact: Artifact[Any, Any], result: Any) -> None:
    artifact.store.put(artifact.room, artifact.key, *artifact.pack(result))


ALL_DOTS = "document.querySelector('.kx-map').dataset.dots === 'all'"
READY = f"document.querySelectorAll('.kx-timeline .kx-ready').length === {len(KS)}"
_RECEIVED = """() => performance.getEntriesByType('resource').filter(({ name }) => /[/](cloud|layer)[/]/.test(name))
  .map(({ name, transferSize }) => [name, transferSize])"""

_PLACE = """async (name) => {
  const { placeIn } = await import(new URL('assets/map/component.js', document.baseURI));
  return placeIn(document.querySelector('.kx-map'), name);
}"""


def measure() -> list[dict[str, Any]]:
    """First load, panning, zooming, sliding, outlines and pointing; the server's answers and its memory."""
    with tempfile.TemporaryDirectory() as folder, opened_with(Path(folder) / "profile") as page:
        store = prepare(Path(folder))
        server = start_server(store.root)
        try:
            until_up()
            address = f"{ADDRESS}/explore?dataset={NAME}.npz&model={NAME}&k=1"
            found = [*_loads(page, address), *explore(page, address, 10, SLIDE)]
            found += [*_moves(page), *_answers(page), *_gestures(page)]
            return [*found, *_memory(server.pid)]
        finally:
            server.terminate()
            server.wait()


def _loads(page: Page, address: str) -> list[dict[str, Any]]:
    """Opening the page: to the map, to all of its dots, and what is sent, for the first time and again."""
    rows = []
    for what in ("first visit", "visit after that"):
        started = time.perf_counter()
        page.goto(address)
        page.wait_for_function(map_shows(10), timeout=WAIT, polling="raf")
        shown = time.perf_counter() - started
        page.wait_for_function(ALL_DOTS, timeout=WAIT, polling="raf")
        whole = time.perf_counter() - started
        page.wait_for_function(READY, timeout=WAIT)
        rows += [row(f"{what}: to the map", [shown], 20), row(f"{what}: to all of its dots", [whole], 25)]
        sent = dict(page.evaluate(_RECEIVED))
        megabytes = sum(sent.values()) / 1e6
        rows.append(row(f"{what}: bytes of places and {len(KS)} layers", [megabytes], 36, "MB"))
        page.goto("about:blank")
    rows[-1]["target"] = 0.1  # they are sent once
    return rows


def _moves(page: Page) -> list[dict[str, Any]]:
    """Frames of dragging and zooming, and how long it takes then until all dots are drawn."""

    def zoomed(pixels: float) -> Callable[[Page, float, float], None]:
        def zoom(page: Page, x: float, y: float) -> None:
            for _ in range(40):
                page.mouse.wheel(0, pixels)
                time.sleep(0.03)

        return zoom

    rows, fast = [], 1 / FRAMES
    for what, move in (
        ("zooming in", zoomed(-60)),
        ("dragging near by", dragged),
        ("zooming out", zoomed(60)),
        ("dragging the whole map", dragged),
    ):
        rows.append(row(f"{what}: a frame", frames(page, move), fast))
        started = time.perf_counter()
        page.wait_for_function(ALL_DOTS, timeout=WAIT, polling="raf")
        rows.append(row(f"{what}: from its end to all dots", [time.perf_counter() - started], 5))
        time.sleep(1)
    return rows


def _gestures(page: Page) -> list[dict[str, Any]]:
    """An outline around many images, and pointing at one."""
    page.get_by_role("button", name="Show the whole map").click()
    time.sleep(1)
    box = page.locator(".kx-map").bounding_box()
    assert box is not None
    x, y, side = box["x"] + 40, box["y"] + 40, 0.8 * box["height"]
    outlined, pointed = [], []
    for _ in range(5):
        page.keyboard.down("Shift")
        page.mouse.move(x, y)
        page.mouse.down()
        for right, down in ((1, 0.02), (1.02, 1), (0.5, 0.9), (0, 1)):
            page.mouse.move(x + right * side, y + down * side, steps=8)
        told = "document.querySelector('.kx-card-view h3')?.textContent.includes(' images of ')"
        outlined += until_shown(page, "pointerup", page.mouse.up, told)
        page.keyboard.up("Shift")
        page.get_by_role("button", name="Clear", exact=True).click()
        time.sleep(2)
    hit = "document.querySelector('.kx-map').classList.contains('kx-map-hit')"
    for name in range(10):
        place = page.evaluate(_PLACE, f"train-{name}")
        page.mouse.move(box["x"] + 3, box["y"] + box["height"] - 3)
        time.sleep(0.3)
        pointed += until_shown(page, "pointermove", partial(page.mouse.move, *place), hit)
    return [
        row("an outline around half of the images: release to their number", outlined, 0.5),
        row("pointing at an image: to its tip", pointed, 0.1),
    ]


def _answers(page: Page) -> list[dict[str, Any]]:
    """The server's answers, once it has them in memory."""
    rows = []
    for kind in ("cloud", "layer"):
        address = next(name for name, _ in page.evaluate(_RECEIVED) if f"/{kind}/" in name)
        seconds = times(partial(_fetched, address), 10)
        rows.append(row(f"the server's answer: {kind}", seconds, 0.3))
    return rows


def _fetched(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        content: bytes = answer.read()
    return content


def _memory(process: int) -> list[dict[str, Any]]:
    """What the server holds, and the most that it held."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():  # another system than Linux
        return []
    kilobytes = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+)", status.read_text()))
    return [
        row("memory of the server after that", [int(kilobytes["VmRSS"]) / 2**20], 1.5, "GB"),
        row("the most that it had", [int(kilobytes["VmHWM"]) / 2**20], 2, "GB"),
    ]
