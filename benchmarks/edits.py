"""How long one more edit of prototypes takes: what the server answers, and from the click to the scores on Explore."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from app.workspace.answer import Asked
from app.workspace.edits import edits
from app.workspace.sources import source_text
from benchmarks.browser import WAIT, new_page, opened, until_shown
from benchmarks.map import NAME, map_shows, prepare
from benchmarks.pages import ADDRESS, row, serving
from benchmarks.sweep import mnist
from kmex_core.base.jsontext import write_json
from kmex_core.base.store import Store
from kmex_core.prototypes.operations import Add, Hide, Merge, Move, Name, Operation, Show, Split, described
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.edits import EditSession, edits_of
from kmex_core.stages.subject import Subject, subject_of

EDITS, SEED = 60, 0
HIDDEN = 25  # prototypes, one after the other, on the page
TARGET = 0.3  # seconds


def measure() -> list[dict[str, Any]]:
    """Each edit of a mixed list, and undo and redo between them, on the digits and on MNIST (see `sweep.mnist`)."""
    with tempfile.TemporaryDirectory() as folder:
        subjects = {"digits": subject_of(Store(), "digits")} | mnist(Path(folder))
        rows = [row for title, subject in subjects.items() for k in (10, 20) for row in measured(title, subject, k)]
    with tempfile.TemporaryDirectory() as folder, opened() as browser:
        store = prepare(Path(folder))
        with serving(store.root):
            return [*rows, *on_page(new_page(browser), f"{ADDRESS}/explore?model={NAME}&k=5", 50)]


def measured(title: str, subject: Subject, k: int) -> list[dict[str, Any]]:
    """The rows of a model with `k` prototypes per class."""
    source = KMeans(k)
    images = sum(len(split) for split in subject.data.splits.values())
    what = f"{title}, {images:,} images, k = {k}"
    subject.embedding_map().get()
    subject.read(subject.conversion(source))
    started = time.perf_counter()
    EditSession(subject, source)
    opening = time.perf_counter() - started
    answered(subject, source, [])
    seconds: dict[str, list[tuple[float, float]]] = {}
    done: list[Operation] = []
    for operation in mixed(subject, source):
        done.append(operation)
        seconds.setdefault(operation.op, []).append(answered(subject, source, done))
        seconds.setdefault("undo", []).append(answered(subject, source, done[:-1]))
        seconds.setdefault("redo", []).append(answered(subject, source, done))
    every = [value for op, values in seconds.items() if op not in ("undo", "redo") for value in values]
    rows = [{"what": f"edits, {what}: opening", "median": round(opening, 3), "runs": 1, "unit": "s"}]
    by_name = {"all edits": every, **seconds}
    for name, values in by_name.items():
        (p50, p95), (_, busy) = np.quantile(values, [0.5, 0.95], axis=0).T
        rows.append(
            {
                "what": f"edits, {what}: {name}",
                "median": round(float(p50), 3),
                "p95": round(float(p95), 3),
                "processor p95": round(float(busy), 3),
                "runs": len(values),
                "unit": "s",
                "target": TARGET,
            }
        )
    return rows


def on_page(page: Page, address: str, prototypes: int) -> list[dict[str, Any]]:
    """The rows of hiding prototype after prototype on Explore; each is brought back and hidden again.

    Args:
        page: of `browser.new_page`.
        address: of Explore, whose model it edits.
        prototypes: how many there are.
    """
    page.goto(address)
    page.wait_for_function(map_shows(prototypes), timeout=WAIT)
    page.get_by_role("button", name="Edit", exact=True).click()
    seconds: dict[str, list[float]] = {"hide": [], "undo": [], "redo": [], "hide, of it waiting for the server": []}
    scores = "!document.querySelector('.kx-edit-scores').hidden"
    for done in range(HIDDEN):
        left = prototypes - done
        page.locator(".kx-proto:visible").nth(7 * done % left).click()
        for op, after in (("hide", left - 1), ("undo", left), ("redo", left - 1)):
            time.sleep(0.7)  # from a page at rest
            page.evaluate("performance.clearResourceTimings()")
            shown = map_shows(after) + (f" && {scores}" if left - after or done else "")
            button = page.get_by_role("button", name=op.capitalize(), exact=True)
            seconds[op] += until_shown(page, "click", button.click, shown)
            if op == "hide":
                seconds["hide, of it waiting for the server"].append(page.evaluate(_WAITED))
    return [row(f"an edit on Explore, 60,000 images: {what}", values, TARGET) for what, values in seconds.items()]


_WAITED = """() => {
  const [asked] = performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/edits'));
  return (asked.responseEnd - asked.requestStart) / 1000;
}"""


def answered(subject: Subject, source: KMeans, operations: list[Operation]) -> tuple[float, float]:
    """Seconds of the server's answer, and of them those of the processor (of all cores)."""
    body = write_json({"base": source_text(source), "operations": described(operations)}).encode()
    started, busy = time.perf_counter(), time.process_time()
    edits(subject, Asked(body=body))
    return time.perf_counter() - started, time.process_time() - busy


def mixed(subject: Subject, source: KMeans) -> list[Operation]:
    """Edits of every kind on random prototypes, each of them possible after the others."""
    random, done = np.random.default_rng(SEED), list[Operation]()
    classes, images = len(subject.info.class_names), len(subject.data.split("train"))
    for number in range(EDITS):
        state = edits_of(subject, source, done).after
        p = int(random.choice(state.shown))
        others = [q for q in state.shown.tolist() if q != p and state.classes[q] == state.classes[p]]
        hidden = [
            operation.p for operation in done if isinstance(operation, Hide) and state.states[operation.p] == "hidden"
        ]
        choices: list[Operation] = [
            Hide(p),
            Split(p),
            Merge((p, others[0])) if others else Hide(p),
            Add(int(random.integers(images))),
            Move(p, (state.classes[p] + 1) % classes),
            Name(p, "a name"),
            Show(hidden[0]) if hidden else Hide(p),
        ]
        operation = choices[number % len(choices)]
        if isinstance(operation, Split):  # the prototype with the most images can be split
            conversion = edits_of(subject, source, done).session.prototypes(state)
            operation = Split(int(state.shown[conversion.count.argmax()]))
        done.append(operation)
    return done
