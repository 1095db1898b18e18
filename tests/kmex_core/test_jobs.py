from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from kmex_core import jobs, models, pipeline
from kmex_core.jobs import Job
from kmex_core.store import Store


def until(store: Store, name: str, fine: Callable[[Job], bool], seconds: float = 90) -> Job:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = jobs.look(store, name)
        if job is not None and fine(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"{jobs.look(store, name)}\n{jobs.last_lines(store, name)}")


def test_a_job_runs_to_its_end_and_leaves_its_results(demo: Store) -> None:
    jobs.start(demo, "sweep-digits", ["sweep", "--model", "digits", "--k", "2:3"])
    job = until(demo, "sweep-digits", lambda job: job.state != "running")
    assert (job.state, job.share) == ("done", 1.0), jobs.last_lines(demo, "sweep-digits")
    info = models.describe(demo, "digits")
    spec = pipeline.conversion_spec(demo, info, pipeline.dataset_of(info), 3, 0)
    assert pipeline.stored_summary(demo, spec) is not None


def test_a_job_says_why_it_failed(store: Store) -> None:
    jobs.start(store, "wrong", ["sweep", "--model", "nobody"])
    job = until(store, "wrong", lambda job: job.state != "running")
    assert job.state == "failed"
    assert "There is no model" in job.message
    assert "nobody" in jobs.last_lines(store, "wrong")


def test_a_job_that_dies_without_a_word_has_failed(store: Store) -> None:
    jobs.start(store, "dead", ["train", "--dataset", "faces", "--backbone", "resnet18", "--name", "x", "--epochs", "9"])
    job = until(store, "dead", lambda job: job.pid > 0)
    os.kill(job.pid, signal.SIGKILL)
    job = until(store, "dead", lambda job: job.state != "running")
    assert job.state == "failed"
    assert "ended without a result" in job.message


def test_a_job_can_be_stopped_and_is_started_once(store: Store) -> None:
    arguments = ["train", "--dataset", "faces", "--backbone", "resnet18", "--name", "x", "--epochs", "9"]
    jobs.start(store, "long", arguments)
    first = until(store, "long", lambda job: job.stage.startswith(("Measuring", "Epoch")))
    jobs.start(store, "long", arguments)
    assert until(store, "long", lambda job: True).pid == first.pid
    jobs.stop(store, "long")
    assert until(store, "long", lambda job: job.state != "running").state == "stopped"
    jobs.stop(store, "long")  # and stopping what has stopped does nothing


def test_a_job_that_is_stopped_before_it_begins_never_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.subprocess, "Popen", lambda *_, **__: None)
    jobs.start(store, "early", ["models"])
    jobs.stop(store, "early")
    assert until(store, "early", lambda job: True).state == "stopped"
    assert not jobs.Reporter(store, "early").begin()  # the process that was on its way
    assert until(store, "early", lambda job: True).state == "stopped"
    jobs.start(store, "early", ["models"])
    again = jobs.Reporter(store, "early")
    assert again.begin()
    assert until(store, "early", lambda job: True).pid == os.getpid()
    again.end("done")


def test_pace_gives_the_time_left() -> None:
    job = Job("running", "Epoch 1", 25, 100, started=0, stage_started=100, changed=110)
    assert job.left == pytest.approx(30)
    assert job.share == 0.25
    assert Job("running").left is None


def test_nonsense_in_the_store_is_no_job(store: Store) -> None:
    (store.root / "jobs").mkdir(parents=True)
    for content in ("", "[]", json.dumps({"state": "running", "rights": "all"})):
        (store.root / "jobs" / "odd.json").write_text(content)
        assert jobs.look(store, "odd") is None
    assert jobs.look(store, "never") is None
