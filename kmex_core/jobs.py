"""Long work in a process of its own, so that a page can follow it, leave it and come back to it.

A job is a command line of this project. It holds a lock while it runs, so that whether it runs never depends on a
process number, and writes where it is to a file in the store. A second start of a running job does nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from kmex_core.errors import StoreError
from kmex_core.jsontext import read_json, write_json
from kmex_core.store import Store, checked_name, write_bytes

ROOM = "jobs"
VARIABLE = "KMEX_JOB"
ROOT = Path(__file__).resolve().parent.parent
EVERY = 0.25
STARTING = 60.0
LOG_LINES = 20
BIG = 1_000_000


@dataclass(frozen=True)
class Job:
    """Where a job is.

    Attributes:
        state: "running", "done", "failed" or "stopped".
        stage: what it is doing.
        done, total: steps of that stage (`total` is 0 while unknown).
        started, stage_started, changed: Unix times of the job's start, of its stage's, and of this report.
        pid: its process.
        message: why it failed.
        arguments: its command line, to start it again.
    """

    state: str
    stage: str = "Starting"
    done: int = 0
    total: int = 0
    started: float = 0.0
    stage_started: float = 0.0
    changed: float = 0.0
    pid: int = 0
    message: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """How much of the stage is done, 0…1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that the stage will still take at its pace; None while there is nothing to judge by."""
        if self.total <= 0 or self.done <= 0 or self.changed <= self.stage_started:
            return None
        return (self.changed - self.stage_started) * (self.total - self.done) / self.done


def _paths(store: Store, name: str) -> tuple[Path, Path, Path]:
    folder = store.root / ROOM
    return tuple(folder / f"{checked_name(name)}{suffix}" for suffix in (".json", ".log", ".lock"))  # type: ignore[return-value]


def start(store: Store, name: str, arguments: Sequence[str]) -> None:
    """Start `python -m kmex_core <arguments>` as the job `name`, unless it runs already.

    Raises:
        StoreError: when the store cannot be written.
    """
    report, log, _ = _paths(store, name)
    if (job := look(store, name)) is not None and job.state == "running":
        return
    now = time.time()
    _write(report, Job("running", started=now, stage_started=now, changed=now, arguments=tuple(arguments)))
    try:
        with log.open("wb") as out:
            subprocess.Popen(
                [sys.executable, "-m", "kmex_core", *arguments],
                cwd=ROOT,
                env=os.environ | {VARIABLE: name, "KMEX_CACHE": str(store.root)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise StoreError(f"The job '{name}' cannot be started: {error.strerror or error}.") from error


def names(store: Store, beginning: str) -> list[str]:
    """The jobs whose names begin so, the newest first."""
    found = {path.stem: job for path in (store.root / ROOM).glob(f"{beginning}*.json") if (job := _read(path))}
    return sorted(found, key=lambda name: -found[name].started)


def forget(store: Store, name: str) -> None:
    """Remove what is known of a job that has ended; its results stay."""
    job = look(store, name)
    if job is not None and job.state != "running":
        for path in _paths(store, name):
            path.unlink(missing_ok=True)


def look(store: Store, name: str) -> Job | None:
    """Where a job is, or None when it was never started. One that died without a word has failed."""
    report, _, lock = _paths(store, name)
    job = _read(report)
    if job is None:
        return None
    if job.state != "running" or _held(lock) or (job.pid == 0 and time.time() - job.started < STARTING):
        return job
    again = _read(report)  # it may have ended between the two looks
    if again is not None and again.state != "running":
        return again
    return replace(job, state="failed", message=f"It ended without a result. {last_lines(store, name)}".strip())


def last_lines(store: Store, name: str) -> str:
    """The end of a job's log."""
    log = _paths(store, name)[1]
    try:
        text = log.read_bytes()[-BIG:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line.rsplit("\r", 1)[-1] for line in text.strip().splitlines()]
    return "\n".join(lines[-LOG_LINES:])


def stop(store: Store, name: str) -> None:
    """Ask a running job to stop; what it has written stays. One that has not begun yet never will."""
    job = look(store, name)
    report, _, lock = _paths(store, name)
    if job is None or job.state != "running":
        return
    if not job.pid:
        _write(report, replace(job, state="stopped", changed=time.time()))
    elif _held(lock):
        os.kill(job.pid, signal.SIGTERM)


def _held(lock: Path) -> bool:
    probe = FileLock(lock)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    probe.release()
    return False


def _read(path: Path) -> Job | None:
    try:
        values = read_json(path.read_text())
        return Job(**{**values, "arguments": tuple(values.get("arguments", ()))})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _write(path: Path, job: Job) -> None:
    write_bytes(path, write_json(asdict(job)).encode())


class Reporter:
    """A job's own side: a `Progress` that writes to the store."""

    def __init__(self, store: Store, name: str) -> None:
        self._report, _, lock = _paths(store, name)
        self._lock = FileLock(lock)
        now = time.time()
        self._job = Job("running", started=now, stage_started=now, changed=now, pid=os.getpid())

    @classmethod
    def here(cls) -> Reporter | None:
        """The reporter of the job that this process is, None when it is none."""
        name = os.environ.get(VARIABLE)
        return cls(Store(), name) if name else None

    def begin(self) -> bool:
        """Take the job's lock; False when another process has it, or the job was stopped before it began."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for _ in range(20):
            try:
                self._lock.acquire(timeout=0.1)
            except Timeout:
                continue  # someone looks whether it is held
            before = _read(self._report)
            if before is not None:
                self._job = replace(self._job, arguments=before.arguments)
            if before is not None and before.state == "stopped" and not before.pid:
                self._lock.release()
                return False
            _write(self._report, self._job)
            return True
        return False

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Write where the job is, four times a second at most."""
        now = time.time()
        new = stage.split()[0] != self._job.stage.split()[0]
        if not new and done < total and now - self._job.changed < EVERY:
            return
        began = now if new else self._job.stage_started
        self._job = replace(self._job, stage=stage, done=done, total=total, stage_started=began, changed=now)
        _write(self._report, self._job)

    def end(self, state: str, message: str = "") -> None:
        """Say how the job ended."""
        self._job = replace(self._job, state=state, message=message, changed=time.time())
        _write(self._report, self._job)
        self._lock.release()
