"""From `streamlit run` to the first figure; the memory of the server; the first visit of an unprepared model."""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from app.selection import KS
from app.spare_memory import REST
from benchmarks.browser import WAIT, new_page, opened
from benchmarks.pages import ADDRESS, PORT, ROOT, row, until_up
from kmex_core.base import jobs
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of

RUNS = 5
BARE = "import streamlit as st\nst.html('<p class=first>1</p>')\n"
_PICTURE = "[...document.querySelectorAll('{0} img')].some((image) => image.complete && image.naturalWidth)"
# where the browser goes, and what it has to show, in JavaScript
FIRST = {
    "one line": ("/", "document.querySelector('.first')"),
    "Home": ("/", _PICTURE.format(".st-key-door-demo")),
    "Explore": (
        "/explore?model=faces",
        "(document.querySelector('.kx-map canvas[role=img]')?.getAttribute('aria-label') ?? '').includes('prototypes')"
        f" && {_PICTURE.format('.kx-panel')}",
    ),
}
WITHOUT_TORCH = ("", "explore?model=faces", "attributes?model=faces", "models", "prototypes?model=faces")
WITH_TORCH = ("explain?model=faces", "audit?model=faces")
RESTS = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
MAPS = "document.querySelectorAll('.kx-figures canvas').length >= 8"
COMMANDS = (["--help"], ["models"])


def measure() -> list[dict[str, Any]]:
    """All of it, in about four minutes."""
    with tempfile.TemporaryDirectory(prefix="kmex-start-") as name, opened() as browser:
        here = Path(name)
        _warm(Store(here / "store"))
        return [*_commands(here), *_starts(browser, here), *_memory(browser, here), *_first_visit(browser, here)]


def _warm(store: Store) -> None:
    """What the faces have once somebody has looked at them: their results ship, but for the other numbers."""
    info = models.describe(store, "faces")
    subject = Subject(store, info, dataset_of(info))
    for k in KS:
        subject.conversion(KMeans(k)).get()


@contextmanager
def serving(store: Path, folder: Path = ROOT, script: str = "app/Home.py") -> Iterator[int]:
    """A server, which has just been started; its process id."""
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(PORT)]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MALLOC_")}
    server = subprocess.Popen(
        [*command, "--server.headless", "true"],
        cwd=folder,
        env=environment | {"KMEX_CACHE": str(store)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield server.pid
    finally:
        server.terminate()
        server.wait()


def shown(page: Page, condition: str) -> None:
    """Wait until the page has something, in JavaScript."""
    page.wait_for_function(f"() => Boolean({condition})", timeout=WAIT, polling="raf")


def _commands(here: Path) -> list[dict[str, Any]]:
    rows = []
    for command in COMMANDS:
        seconds = []
        for _ in range(RUNS):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "kmex_core", *command],
                cwd=ROOT,
                env=os.environ | {"KMEX_CACHE": str(here / "store")},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            seconds.append(time.perf_counter() - started)
        rows.append(row(f"kmex {' '.join(command)}", seconds, 0.5))
    return rows


def _starts(browser: Browser, here: Path) -> list[dict[str, Any]]:
    """Seconds from the start of the process to the first figure, alternating with a script of one line."""
    (here / "bare").mkdir()
    (here / "bare" / "bare.py").write_text(BARE)
    seconds: dict[str, list[float]] = {name: [] for name in FIRST}
    processor: dict[str, list[float]] = {name: [] for name in FIRST}
    for _, (name, (address, condition)) in itertools.product(range(RUNS), FIRST.items()):
        place = (here / "bare", "bare.py") if name == "one line" else (ROOT, "app/Home.py")
        page = new_page(browser)
        started = time.perf_counter()
        with serving(here / "store", *place) as server:
            until_up()
            page.goto(f"{ADDRESS}{address}", wait_until="commit")
            shown(page, condition)
            seconds[name].append(time.perf_counter() - started)
            processor[name].append(_processor_seconds(server))
        page.close()
    floor = statistics.median(seconds["one line"])
    rows: list[dict[str, Any]] = [row("streamlit run to the text of a script of one line", seconds["one line"], 3)]
    for name in ("Home", "Explore"):
        above = round(statistics.median(seconds[name]) - floor, 3)
        rows += [
            row(f"streamlit run to the first figure of {name}, warm store", seconds[name], 3),
            {"what": f"the same, above the script of one line: {name}", "median": above, "unit": "s"},
        ]
    for name, spent in processor.items():
        rows.append({"what": f"the server's processor time until then: {name}"} | _median(spent, "s"))
    return rows


def _median(values: list[float], unit: str) -> dict[str, Any]:
    return {"median": round(statistics.median(values), 3), "runs": len(values), "unit": unit}


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> float:
    """MB of a process in memory, all of its shared libraries included."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _memory(browser: Browser, here: Path) -> list[dict[str, Any]]:
    """MB of the server after the first page, after all pages that need no torch, and after those that do."""
    page = new_page(browser)
    with serving(here / "store") as server:
        until_up()
        _visit(page, "")
        first = resident(server)
        for address in WITHOUT_TORCH:
            _visit(page, address)
        without = resident(server)
        for address in WITH_TORCH:
            _visit(page, address)
        time.sleep(REST + 2)
        with_torch = resident(server)
    page.close()
    names = [", ".join(address.partition("?")[0] or "home" for address in part) for part in (WITHOUT_TORCH, WITH_TORCH)]
    return [
        _megabytes("after Home", first, 250),
        _megabytes(f"after {names[0]}", without, 250),
        _megabytes(f"after these, and {names[1]} with relevance maps", with_torch, 900),
    ]


def _visit(page: Page, address: str) -> None:
    page.goto(f"{ADDRESS}/{address}")
    shown(page, RESTS)
    if address.startswith("explain"):
        shown(page, MAPS)
    page.wait_for_load_state("networkidle")
    shown(page, RESTS)


def _megabytes(what: str, value: float, target: float) -> dict[str, Any]:
    return {"what": f"memory of the server {what}", "median": round(value), "runs": 1, "unit": "MB", "target": target}


def _first_visit(browser: Browser, here: Path) -> list[dict[str, Any]]:
    """Seconds on Explore with the faces, without their results that ship with the product."""
    code = here / "code"
    code.mkdir()
    for name in ("app", "kmex_core", ".streamlit"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("results"), symlinks=True)
    page = new_page(browser)
    with serving(here / "fresh", code):
        until_up()
        page.goto(ADDRESS)
        shown(page, RESTS)
        started = time.perf_counter()
        page.goto(f"{ADDRESS}/explore?model=faces", wait_until="commit")
        shown(page, _PICTURE.format(".kx-gallery"))
        usable = time.perf_counter() - started
        page.wait_for_selector(".st-key-explore-header", timeout=WAIT)  # of the job `convert`, in the background
        prepared = time.perf_counter() - started
        shown(page, FIRST["Explore"][1])
        mapped = time.perf_counter() - started
    page.close()
    store = Store(here / "fresh")
    for job in jobs.names(store, ""):  # the timeline's goes on without the server
        jobs.stop(store, job)
    return [
        row("first visit of the faces, 8,000 images: until the page shows training images", [usable], 3),
        row("first visit of the faces: until they are embedded and converted", [prepared], 20),
        {"what": "first visit of the faces: until their map is there", "unit": "s"} | _median([mapped], "s"),
    ]


if __name__ == "__main__":
    for line in measure():
        print(line, flush=True)
