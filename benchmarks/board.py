"""How soon the board says what a dropped photo is: the server's first answer, and all that the page then shows."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from benchmarks.browser import WAIT, new_page, opened, until_shown
from benchmarks.map import NAME, prepare
from benchmarks.pages import ADDRESS, row, serving
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
    seconds = []
    with serving(store.root):
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
    return seconds[1:]


_HELD = """(content) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  window.transfer = new DataTransfer();
  window.transfer.items.add(new File([bytes], 'photo.jpg', { type: 'image/jpeg' }));
}"""
_DROP = """() => {
  const drag = { bubbles: true, cancelable: true, dataTransfer: window.transfer };
  for (const kind of ['dragenter', 'dragover', 'drop'])
    document.querySelector('.kx-explore').dispatchEvent(new DragEvent(kind, drag));
}"""
_BOARD = "document.querySelector('.kx-board-body:not([hidden]) .kx-verdict')"
_MAPS = f"{_BOARD} && document.querySelector('.kx-maps canvas') && !document.querySelector('.kx-board .kx-waiting')"
_TESTED = (
    "[...document.querySelectorAll('.kx-board summary')].filter((each) => each.textContent.endsWith('in numbers'))"
)
_VERDICTS = f"{_MAPS} && {_TESTED}.length > document.querySelectorAll('.kx-maps .kx-map-pair').length"
SHOWN = {"the board": (_BOARD, 0.5), "all maps": (_MAPS, 2), "all verdicts on maps": (_VERDICTS, 5)}


def dropped(store: Store, model: str, photos: int = PHOTOS) -> dict[str, list[float]]:
    """Seconds from dropping each photo on Explore to what is shown then, after one that is not counted."""
    seconds: dict[str, list[float]] = {what: [] for what in SHOWN}
    with serving(store.root), opened() as browser:
        page = new_page(browser)
        page.goto(f"{ADDRESS}/explore?model={model}&k={K5.k}")
        page.wait_for_function("document.querySelectorAll('.kx-proto').length > 0", timeout=WAIT)
        for seed in range(photos + 1):
            time.sleep(1)  # from a page at rest
            page.evaluate(_HELD, base64.b64encode(photo(seed)).decode())
            conditions = [condition for condition, _ in SHOWN.values()]
            found = until_shown(page, "drop", partial(page.evaluate, _DROP), *conditions)
            for what, each in zip(SHOWN, found, strict=True):
                seconds[what].append(each)
            page.get_by_role("button", name="Remove picture").click()
            page.wait_for_function(f"!{_BOARD}", timeout=WAIT)
    return {what: values[1:] for what, values in seconds.items()}


def _rows(where: str, store: Store, model: str) -> list[dict[str, Any]]:
    what = f"a photo of 12 megapixels, {where}"
    return [
        row(f"{what}: sent to the board, by the server alone", answers(store, model), SHOWN["the board"][1]),
        *(
            row(f"{what}: dropped on Explore to {shown}", values, SHOWN[shown][1])
            for shown, values in dropped(store, model).items()
        ),
    ]


def measure() -> list[dict[str, Any]]:
    """The faces, and 60,000 images."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "faces")
        subject = subject_of(store, "faces")
        subject.conversion(K5).get()
        subject.embedding_map().get()
        rows = _rows("faces", store, "faces")
        shutil.rmtree(store.root)
        store = prepare(Path(folder))
        return [*rows, *_rows("60,000 images", store, NAME)]
