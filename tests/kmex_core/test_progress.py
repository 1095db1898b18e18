"""Events of long work: how they read, which share a bar, and that bars and jobs follow them."""

from __future__ import annotations

import re
import time

import pytest

from kmex_core.base import jobs
from kmex_core.base.jobs import Reporter
from kmex_core.base.progress import Event
from kmex_core.base.store import Store
from kmex_core.commands._shared import Bar


def test_an_event_reads_as_a_sentence() -> None:
    assert Event("Converting", 1, 6).text == "Converting"
    assert Event("Computing embeddings", 1, 2, "Test images").text == "Test images: computing embeddings"
    epoch = Event("Epoch", 3, 40, part=2, parts=10, values={"loss": 0.31234, "l1": 2.0})
    assert epoch.text == "Epoch 2/10, loss 0.3123, l1 2"


def test_parts_share_a_stage_and_groups_do_not() -> None:
    first, second = (
        Event("Epoch", done, 20, group, part=done // 10, parts=2) for done, group in ((9, "warm"), (10, ""))
    )
    assert first.place == second.place
    assert Event("x", 1, 2, "train").place != Event("x", 1, 2, "test").place


def test_each_stage_ends_its_bar_at_100_percent(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    for group in ("Training images", "Test images"):
        for done in (0, 60, 100):
            bar(Event("Computing embeddings", done, 100, group))
    bar.close()
    lines = [line.split("\r")[-1] for line in capsys.readouterr().err.split("\n") if line]
    assert [re.sub(r"\|.*\| ", " ", line).split(" [")[0] for line in lines] == [
        "Training images: computing embeddings: 100% 100/100",
        "Test images: computing embeddings: 100% 100/100",
    ]


def test_a_jobs_time_left_belongs_to_its_stage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(jobs, "EVERY", 0)
    reporter = Reporter(store, "job")
    (store.root / jobs.ROOM).mkdir(parents=True)
    reporter(Event("Slow", 0, 10))
    now += 100
    reporter(Event("Slow", 10, 10))
    reporter(Event("Quick", 0, 10, part=1, parts=2, values={"loss": 2.5}))
    now += 1
    reporter(Event("Quick", 5, 10, part=2, parts=2, values={"loss": 1.5}))
    job = jobs._read(store.root / jobs.ROOM / "job.json")
    assert job is not None
    assert job.left == pytest.approx(1.0)
    assert (job.stage, job.part, job.parts, job.values) == ("Quick 2/2, loss 1.5", 2, 2, {"loss": 1.5})
