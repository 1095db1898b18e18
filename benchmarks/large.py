"""A generated sharded embedding from its rows to its page: seconds and peak memory of each step, and of the server.

`python -m benchmarks large` measures a million rows, `python -m benchmarks.large 10000000 [FOLDER]` any number; steps
that the folder has are not done again.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from benchmarks.browser import WAIT, new_page, opened, until_shown
from benchmarks.pages import ADDRESS, row, start_server, until_up
from kmex_core.scale.sharded import ROOM

ROOT = Path(__file__).resolve().parent.parent
ROWS = 1_000_000
MB = 10**6
_OPEN = (
    "import sys; from pathlib import Path; from kmex_core.scale.engine import Local; "
    "from kmex_core.scale.sharded import ShardedEmbedding; from kmex_core.scale.density import DensityMap; "
    "from kmex_core.scale.generated import generated; from kmex_core.scale.sweep import sharded_sweep, stored_sweep; "
    "from kmex_core.prototypes.metric import EmbeddingMetric; folder, rows = Path(sys.argv[1]), int(sys.argv[2]); "
)
STEPS = {  # each in a process of its own, so that its memory is its own
    "generate it": "generated(folder, rows)",
    "find prototypes for k = 1 to 10, at most 1 GB for a class": "sharded_sweep(ShardedEmbedding.open(folder), "
    "EmbeddingMetric(), list(range(1, 11)), 0, Local(), 2**30)",
    "fit UMAP on 4,096 of them": "DensityMap(ShardedEmbedding.open(folder)).fit()",
    "place all, and write density tiles": "DensityMap(ShardedEmbedding.open(folder)).make(Local())",
    "place the prototypes": "e = ShardedEmbedding.open(folder); DensityMap(e).place_prototypes(stored_sweep(e))",
}
SHOWN = (
    "document.querySelector('.kx-large-map[aria-busy=false]') !== null"
    " && [...document.querySelectorAll('.kx-large-card img')].some((image) => image.complete && image.naturalWidth)"
)
NUMBER = "document.querySelector('.kx-large-number input').valueAsNumber + 1"  # of 1 to 10 per class
KEYS = ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowLeft") * 3
SLIDE = 0.3  # the target, in seconds


def measure(rows: int = ROWS, folder: Path | None = None) -> list[dict[str, Any]]:
    """All steps, and the page in Chromium.

    Args:
        rows: of 64 dimensions and 10 classes.
        folder: of the store; a new one when None.
    """
    with contextlib.ExitStack() as stack:
        root = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kmex-large-")))
        embedding = root / ROOM / f"generated-{rows}"
        found = [_step(f"{rows:,} rows: {what}", code, embedding, rows) for what, code in STEPS.items()]
        parts, results = (_size(embedding, pattern) for pattern in ("*.parquet", "results/**/*"))
        found += [_row(f"{rows:,} rows: {what} on disk", size / MB, "MB")
                  for what, size in (("the parts", parts), ("prototypes and tiles", results))]  # fmt: skip
        browser = stack.enter_context(opened())
        return [*found, *_page(new_page(browser), root, f"{rows:,} rows")]


def _step(what: str, code: str, embedding: Path, rows: int) -> dict[str, Any]:
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", _OPEN + code, str(embedding), str(rows)], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{what} failed: {os.waitstatus_to_exitcode(status)}")
    row = _row(what, time.perf_counter() - started, "s")
    row |= {"processor": round(usage.ru_utime + usage.ru_stime, 1), "memory": round(usage.ru_maxrss * 1024 / MB)}
    print(f"  {row}", file=sys.stderr, flush=True)
    return row


def _page(page: Page, root: Path, what: str) -> list[dict[str, Any]]:
    """Open the page, and slide the number of prototypes."""
    server = start_server(root)
    try:
        until_up()
        page.goto(ADDRESS)
        page.get_by_role("heading", name="KMEx Explorer").wait_for(timeout=WAIT)
        time.sleep(20)  # what the server loads once for all pages
        before = _memory(server.pid)
        started = time.perf_counter()
        page.goto(f"{ADDRESS}/large")
        page.wait_for_function(SHOWN, timeout=WAIT, polling="raf")
        first = time.perf_counter() - started
        slides = [_slide(page, key) for key in KEYS]
        after = _memory(server.pid)
    finally:
        server.terminate()
        server.wait()
    return [
        _row(f"{what}: open the page, to its map and cards", first, "s"),
        row(f"{what}: another number of prototypes, key press to cards and map", slides, SLIDE),
        _row(f"{what}: the server's memory at most", after[1], "MB"),
        _row(f"{what}: of that, for this page", after[1] - before[0], "MB"),
    ]


def _slide(page: Page, key: str) -> float:
    """Seconds from a key press to the frame that has the cards and the map of the next number."""
    time.sleep(1)  # from a page at rest: the pictures have come, and the address is told
    slider = page.get_by_role("slider", name="Prototypes per class")
    slider.focus()
    k = int(page.evaluate(NUMBER)) + (1 if key == "ArrowRight" else -1)
    cards = f"document.querySelector('.kx-large-row').children.length === {k}"
    on_map = (
        f"document.querySelector('.kx-large-map canvas').getAttribute('aria-label').includes(' {10 * k} prototypes')"
    )
    (seconds,) = until_shown(page, "keydown", lambda: slider.press(key), f"{cards} && {on_map}")
    return seconds


def _memory(pid: int) -> tuple[float, float]:
    """What a process has in memory now, and had at most, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("Vm")}
    return sizes["VmRSS"], sizes["VmHWM"]


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def _row(what: str, value: float, unit: str) -> dict[str, Any]:
    return {"what": what, "median": round(value, 3 if unit == "s" else 1), "runs": 1, "unit": unit}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    for line in measure(int(arguments[0]) if arguments else ROWS, Path(arguments[1]) if arguments[1:] else None):
        print(line)
