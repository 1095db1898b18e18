from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from PIL import Image

from kmex_core.base import jobs
from kmex_core.base.errors import StoreError
from kmex_core.base.jobs import Job
from kmex_core.base.progress import Event
from kmex_core.base.store import Store
from kmex_core.models import catalogue as models
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of
from tests.helpers.datasets import write_folder


def until(store: Store, name: str, fine: Callable[[Job], bool], seconds: float = 90) -> Job:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = jobs.look(store, name)
        if job is not None and fine(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"{jobs.look(store, name)}\n{jobs.last_lines(store, name)}")


def test_a_job_runs_to_its_end_and_leaves_its_results(demo: Store) -> None:
    jobs.start(demo, "sweep-digits", ["sweep", "--model", "digits", "--k", "2:3", "--seed", "11"])
    job = until(demo, "sweep-digits", lambda job: job.state != "running")
    assert (job.state, job.share) == ("done", 1.0), jobs.last_lines(demo, "sweep-digits")
    info = models.describe(demo, "digits")
    assert Subject(demo, info, dataset_of(info)).sweep(KMeans(3, 11)).exists()


def test_a_job_says_why_it_failed(store: Store) -> None:
    jobs.start(store, "wrong", ["sweep", "--model", "nobody"])
    job = until(store, "wrong", lambda job: job.state != "running")
    assert job.state == "failed"
    assert "There is no model" in job.message
    until(store, "wrong", lambda _: "nobody" in jobs.last_lines(store, "wrong"))  # its last words follow its report


def test_a_job_works_in_the_folder_it_was_started_from_and_imports_nothing_from_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "elsewhere"
    write_folder(folder / "photos", ("a", "b"), 4, 2)
    for name in ("kmex_core", "numpy", "json"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from where it works')")
    monkeypatch.chdir(folder)
    jobs.start(store, "verify", ["datasets", "--verify", "photos"])
    job = until(store, "verify", lambda job: job.state != "running")
    assert job.state == "done", jobs.last_lines(store, "verify")


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


class OnItsWay:
    """A process that was started and has not come to its first line: it has the lock, and no number yet."""

    def __init__(self, *_: object, env: dict[str, str], pass_fds: tuple[int], **__: object) -> None:
        self.lock = os.dup(pass_fds[0])
        self.ended: int | None = None
        self.env = env | {jobs.HANDED: str(self.lock)}
        OnItsWay.last = self

    last: OnItsWay

    def poll(self) -> int | None:
        return self.ended

    def arrives(self, store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> jobs.Reporter | None:
        monkeypatch.setenv(jobs.HANDED, self.env[jobs.HANDED])
        reporter = jobs.Reporter(store, name)
        return reporter if reporter.begin() else None

    def dies(self) -> None:
        os.close(self.lock)
        self.ended = -9


def test_a_job_that_is_stopped_before_it_begins_never_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", OnItsWay)
    assert jobs.start(store, "early", ["models"])
    assert not jobs.start(store, "early", ["models"])
    jobs.stop(store, "early")
    assert until(store, "early", lambda job: True).state == "stopped"
    assert OnItsWay.last.arrives(store, "early", monkeypatch) is None
    assert until(store, "early", lambda job: True).state == "stopped"
    assert jobs.start(store, "early", ["models"])
    again = OnItsWay.last.arrives(store, "early", monkeypatch)
    assert again is not None
    assert until(store, "early", lambda job: True).pid == os.getpid()
    again.end("done")


def test_the_threads_of_a_job_wait_asleep_unless_somebody_chose(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", OnItsWay)
    for chosen, expected in ((None, "passive"), ("active", "active")):
        if chosen is None:
            monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        else:
            monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
        jobs.start(store, expected, ["models"])
        assert OnItsWay.last.env["OMP_WAIT_POLICY"] == expected
        OnItsWay.last.dies()


def test_a_stop_in_the_moment_of_the_beginning_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", OnItsWay)
    jobs.start(store, "early", ["models"])
    before = jobs.look(store, "early")
    running = OnItsWay.last.arrives(store, "early", monkeypatch)
    assert running is not None
    monkeypatch.setattr(jobs, "look", lambda *_: before)  # `stop` has looked before it began
    jobs.stop(store, "early")
    with pytest.raises(KeyboardInterrupt):
        running(Event("Epoch", 1, 2, part=1, parts=2))
    running.end("stopped")


def test_a_job_that_dies_of_being_stopped_has_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", OnItsWay)
    jobs.start(store, "native", ["models"])
    running = OnItsWay.last.arrives(store, "native", monkeypatch)
    assert running is not None
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *signal_to: sent.append(signal_to))
    jobs.stop(store, "native")
    assert sent == [(os.getpid(), signal.SIGTERM)]
    assert until(store, "native", lambda job: True).state == "running"
    with pytest.raises(KeyboardInterrupt):  # the signal was lost, and the job goes on to its next report
        running(Event("Epoch", 1, 2))
    running._release()  # the signal came in the middle of native code, which ended the process
    OnItsWay.last.ended = -6
    assert until(store, "native", lambda job: True).state == "stopped"
    jobs.start(store, "native", ["models"])  # and what dies when it was started again has failed
    OnItsWay.last.dies()
    assert until(store, "native", lambda job: True).state == "failed"


def test_an_early_death_is_noticed_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", OnItsWay)
    jobs.start(store, "early", ["models"])
    assert until(store, "early", lambda job: True).state == "running"
    jobs._children.clear()  # another process, which did not start it, sees the same
    assert until(store, "early", lambda job: True).state == "running"
    OnItsWay.last.dies()
    assert until(store, "early", lambda job: True, 1).state == "failed"


def test_a_program_that_cannot_start_is_noticed_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    jobs.start(store, "broken", ["models"])
    assert until(store, "broken", lambda job: job.state != "running", 3).state == "failed"
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StoreError, match="cannot be started"):
        jobs.start(store, "broken", ["models"])
    assert until(store, "broken", lambda job: True).state == "failed"


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clock_decides_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    monkeypatch.setattr(subprocess, "Popen", OnItsWay)
    jobs.start(store, "clock", ["models"])
    running = OnItsWay.last.arrives(store, "clock", monkeypatch)
    assert running is not None
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + 3600 * hours)
    assert until(store, "clock", lambda job: True).state == "running"
    monkeypatch.setattr(jobs, "EVERY", 0)
    running(Event("Epoch", 1, 4, part=1, parts=2))
    running(Event("Epoch", 2, 4, part=1, parts=2))
    assert until(store, "clock", lambda job: True).done == 2  # reports go on
    assert running._lock is not None
    os.close(running._lock)  # it dies
    OnItsWay.last.ended = -9
    assert until(store, "clock", lambda job: True, 1).state == "failed"


def test_jobs_wait_for_their_turn_and_can_be_stopped_meanwhile(store: Store) -> None:
    (store.root / jobs.ROOM).mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        for number in range(jobs.at_once()):
            stack.enter_context(FileLock(store.root / jobs.ROOM / f".turn-other-{number}.lock"))
        jobs.start(store, "one", ["models"])
        jobs.start(store, "two", ["models"])
        for name in ("one", "two"):
            waiting = until(store, name, lambda job: job.stage == "Waiting for another job")
            assert waiting.state == "running"
        jobs.stop(store, "two")
        assert until(store, "two", lambda job: job.state != "running").state == "stopped"
        assert until(store, "one", lambda job: True).state == "running"
    assert until(store, "one", lambda job: job.state != "running").state == "done"


def test_a_training_does_not_hold_up_other_jobs(store: Store) -> None:
    (store.root / jobs.ROOM).mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        for number in range(jobs.at_once()):
            stack.enter_context(FileLock(store.root / jobs.ROOM / f".turn-training-{number}.lock"))
        jobs.start(store, "looks", ["models"])
        assert until(store, "looks", lambda job: job.state != "running").state == "done"


def test_a_job_that_is_killed_while_it_has_its_turn_gives_it_back(store: Store) -> None:
    program = (
        "import time; from kmex_core.base import jobs; from kmex_core.base.store import Store\n"
        "from kmex_core.base.progress import Event\n"
        "job = jobs.Reporter(Store(), 'x'); job.begin(); job.wait_for_turn(); job(Event('Working', 1, 2))\n"
        "time.sleep(99)"
    )
    with contextlib.ExitStack() as stack:
        (store.root / jobs.ROOM).mkdir(parents=True)
        for number in range(1, jobs.at_once()):  # all turns but one are taken
            stack.enter_context(FileLock(store.root / jobs.ROOM / f".turn-other-{number}.lock"))
        process = subprocess.Popen([sys.executable, "-c", program], cwd=jobs.ROOT)
        until(store, "x", lambda job: job.stage == "Working")
        last = FileLock(store.root / jobs.ROOM / ".turn-other-0.lock")
        with pytest.raises(Timeout):
            last.acquire(timeout=0.2)
        process.kill()
        process.wait()
        last.acquire(timeout=5)
        last.release()
    assert until(store, "x", lambda job: True).state == "failed"


def test_what_is_forgotten_can_start_again_and_what_runs_is_not_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", OnItsWay)
    jobs.start(store, "again", ["models"])
    jobs.forget(store, "again")
    assert jobs.look(store, "again") is not None
    OnItsWay.last.dies()
    jobs.forget(store, "again")
    assert jobs.look(store, "again") is None
    assert list((store.root / jobs.ROOM).iterdir()) == []
    assert jobs.start(store, "again", ["models"])
    OnItsWay.last.dies()


def test_pace_gives_the_time_left() -> None:
    job = Job("running", "Epoch 1", 25, 100, started=0, stage_started=100, changed=110)
    assert job.left == pytest.approx(30)
    assert job.share == 0.25
    assert Job("running").left is None


SOUND: dict[str, object] = {
    "state": "failed",
    "stage": "Epoch 1",
    "done": 1,
    "total": 2,
    "started": 1.0,
    "arguments": ["a"],
}
WRONG: list[dict[str, object]] = [
    {"state": 3}, {"state": "dancing"}, {"state": []}, {"stage": None}, {"stage": 7}, {"done": "1"},
    {"done": 1.5}, {"done": -1}, {"total": None}, {"total": {}}, {"total": 10**400}, {"started": "now"},
    {"started": [1]}, {"started": True}, {"changed": float("nan")}, {"changed": float("inf")}, {"pid": "1"},
    {"pid": 2**40}, {"message": 1}, {"message": None}, {"arguments": "ab"}, {"arguments": [1]},
    {"arguments": None}, {"arguments": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        "\ud800",
        json.dumps({"state": "running", "rights": "all"}),
        *(json.dumps(SOUND | wrong) for wrong in WRONG),
    ],
)
def test_nonsense_in_the_store_is_no_job(store: Store, content: str) -> None:
    (store.root / "jobs").mkdir(parents=True)
    (store.root / "jobs" / "odd.json").write_bytes(content.encode(errors="surrogatepass"))
    assert jobs.look(store, "odd") is None
    assert jobs.names(store, "") == []
    jobs.stop(store, "odd")
    jobs.forget(store, "odd")


def test_a_sound_report_is_a_job(store: Store) -> None:
    (store.root / "jobs").mkdir(parents=True)
    (store.root / "jobs" / "odd.json").write_text(json.dumps(SOUND))
    assert until(store, "odd", lambda job: True) == Job("failed", "Epoch 1", 1, 2, started=1.0, arguments=("a",))


def test_what_is_no_report_is_not_opened(store: Store, tmp_path: Path) -> None:
    folder = store.root / "jobs"
    folder.mkdir(parents=True)
    (tmp_path / "secret.json").write_text(json.dumps(SOUND))
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    (folder / "ü ä.json").write_text(json.dumps(SOUND))
    (folder / "huge.json").write_text(json.dumps({**SOUND, "message": "x" * 2 * jobs.BIG}))
    assert jobs.names(store, "") == []
    for name in ("link", "pipe", "folder", "huge", "never"):
        assert jobs.look(store, name) is None


def test_the_answer_of_a_job_is_the_json_that_it_printed(store: Store) -> None:
    assert jobs.start(store, "list", ["models", "--json"])
    assert jobs.start(store, "text", ["models"])
    assert jobs.start(store, "lost", ["models", "--model", "x", "--json"])
    ended = {name: until(store, name, lambda job: job.state != "running") for name in ("list", "text", "lost")}
    assert ended["list"].state == "done"
    answer = jobs.answer(store, "list")
    assert answer is not None
    assert "digits" in [model["name"] for model in answer["models"]]
    assert jobs.answer(store, "text") is None
    assert jobs.answer(store, "lost") is None
    assert jobs.answer(store, "never") is None
    (store.root / jobs.ROOM / "list.log").write_text('{"a": ' + "[" * 100_000 + "\n")
    assert jobs.answer(store, "list") is None


def test_a_job_says_what_could_not_be_decided_between(store: Store, tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
    rows = "\n".join(f"{number}.png,{'ab'[number % 2]},{'cd'[number // 2]}" for number in range(4))
    (tmp_path / "table.csv").write_text(f"file,breed,colour\n{rows}\n")
    jobs.start(store, "report", ["datasets", "--check", str(tmp_path), "--json"])
    job = until(store, "report", lambda job: job.state != "running")
    assert (job.state, job.option, job.choices) == ("failed", "label-column", ("breed", "colour"))
