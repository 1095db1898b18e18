"""How soon the board says what a dropped photo is: from the first byte that is sent to the whole first answer."""

from __future__ import annotations

import io
import json
import shutil
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from benchmarks.map import NAME, prepare
from benchmarks.pages import ADDRESS, start_server, until_up
from kmex_core.base.store import Store
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import subject_of

PHOTOS = 20
SIDES = (4000, 3000)
K5 = KMeans(5)


def photo(seed: int) -> bytes:
    """A JPEG of 12 megapixels, of about 4 MB."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(SIDES, Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
    return file.getvalue()


def answers(store: Store, model: str, photos: int = PHOTOS) -> list[float]:
    """Seconds until the board of each photo is there, of a server on this store, after one that is not counted."""
    key, text = subject_of(store, model).conversion(K5).key, f"kmeans:{K5.k}:{K5.seed}:{K5.metric}"
    server, seconds = start_server(store.root), []
    try:
        until_up()
        for seed in range(photos + 1):
            content = photo(seed)
            started = time.perf_counter()
            send = urllib.request.Request(
                f"{ADDRESS}/workspace/{model}/pictures", content, {"KMEx-Upload": "photo.jpg"}
            )
            sent = json.load(urllib.request.urlopen(send))
            query = urlencode({"source": text, "picture": sent["picture"]})
            board = json.load(urllib.request.urlopen(f"{ADDRESS}/workspace/{model}/board/{key}.json?{query}"))
            assert board["headline"]
            seconds.append(time.perf_counter() - started)
    finally:
        server.terminate()
        server.wait()
    return seconds[1:]


def _row(what: str, seconds: list[float]) -> dict[str, Any]:
    p95 = sorted(seconds)[int(0.95 * (len(seconds) - 1))]
    return {
        "what": what,
        "median": round(statistics.median(seconds), 3),
        "p95": round(p95, 3),
        "worst": round(max(seconds), 3),
        "runs": len(seconds),
        "unit": "s",
        "target": 0.5,
    }


def measure() -> list[dict[str, Any]]:
    """The faces, and 60,000 images."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "faces")
        subject = subject_of(store, "faces")
        subject.conversion(K5).get()
        subject.embedding_map().get()
        rows.append(_row("a photo of 12 megapixels, faces: sent to the board", answers(store, "faces")))
        shutil.rmtree(store.root)
        store = prepare(Path(folder))
        rows.append(_row("the same beside 60,000 images", answers(store, NAME)))
    return rows
