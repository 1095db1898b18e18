"""Long work in a separate process: a page can follow it, leave it and come back to it.

A job is a command line of this project. It holds a lock from before its process begins until the process ends: whether
it is running depends neither on a process id nor on a clock. It writes its progress to a file in the store. Starting a
running job again does nothing. Jobs beyond the limit wait for their turn (`Reporter.wait_for_turn`).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout, lock_descriptor

from kmex_core.base import cores
from kmex_core.base.errors import StoreError
from kmex_core.base.files import make_folder, regular_files, write_bytes
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.progress import Event
from kmex_core.base.store import Store, checked_name, demand_writable

ROOM = "jobs"
VARIABLE, HANDED = "KMEX_JOB", "KMEX_JOB_LOCK"
ROOT = Path(__file__).resolve().parent.parent.parent
# threads that wait for each other sleep: they would spin, and the page that shows the progress takes cores from them
PATIENT = {"OMP_WAIT_POLICY": "passive"}
EVERY = 0.25
TRAINING = "train"
LOG_LINES = 20
BIG = 1_000_000
MOST_ANSWER = 32 * 2**20  # bytes of a log whose answer is read


@dataclass(frozen=True)
class Job:
    """The state of a job.

    Attributes:
        state: "running", "done", "failed" or "stopped".
        stage: what the job is doing.
        done, total: steps of that stage (`total` is 0 while unknown).
        first: steps already done when this job began the stage, by an earlier, interrupted job.
        started, stage_started, changed: Unix times of the start of the job and of its stage, and of this report.
        pid: the process id.
        message: the reason for a failure.
        arguments: the command line, to start the job again.
        part, parts, values: as in the last reported `Event`.
        option, choices: of a failure that naming one thing resolves, see `errors.UndecidedError`.
    """

    state: str
    stage: str = "Starting"
    done: int = 0
    total: int = 0
    first: int = 0
    started: float = 0.0
    stage_started: float = 0.0
    changed: float = 0.0
    pid: int = 0
    message: str = ""
    arguments: tuple[str, ...] = ()
    part: int = 0
    parts: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    option: str = ""
    choices: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """How much of the stage is done, 0…1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def left(self) -> float | None:
        """Estimated seconds until the stage ends; None while there is no basis for an estimate."""
        done_in_stage = self.done - self.first
        if self.total <= 0 or done_in_stage <= 0 or self.changed <= self.stage_started:
            return None
        return (self.changed - self.stage_started) * (self.total - self.done) / done_in_stage


_STATES = ("running", "done", "failed", "stopped")
_SUFFIXES = (".json", ".log", ".lock", ".stopped")
_NAME = r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})"
_REPORT = re.compile(rf"{_NAME}\.json")
FILES = re.compile(rf"{_NAME}({'|'.join(map(re.escape, _SUFFIXES))})")  # all that jobs write into their room
# the processes started by this one, by report file
_children: dict[Path, subprocess.Popen[bytes]] = {}


class _Paths(NamedTuple):
    """The files of a job; `stopped` exists once it was asked to stop."""

    report: Path
    log: Path
    lock: Path
    stopped: Path


def _paths(store: Store, name: str) -> _Paths:
    folder, name = store.root / ROOM, checked_name(name)
    return _Paths(*(folder / f"{name}{suffix}" for suffix in _SUFFIXES))


def start(store: Store, name: str, arguments: Sequence[str]) -> bool:
    """Start `python -m kmex_core <arguments>` as the job `name`, unless it is already running.

    It runs in this process's working directory, so relative paths keep their meaning, and imports this package even
    if that directory contains another one of the same name.

    Returns:
        Whether the job was started.

    Raises:
        InputError: when the store is read-only.
        StoreError: when it cannot be written.
    """
    demand_writable(f"The job '{name}' cannot be started")
    report, log, lock, stopped = _paths(store, name)
    try:
        make_folder(report.parent)
        held = _taken(lock)
    except OSError as error:
        raise StoreError(
            f"The job '{name}' cannot be started in the store at {store.root}: {error.strerror or error}. Make the "
            "folder writable, or set KMEX_CACHE to a writable folder."
        ) from error
    if held is None:
        return False
    try:
        now = time.time()
        stopped.unlink(missing_ok=True)
        _write(report, Job("running", started=now, stage_started=now, changed=now, arguments=tuple(arguments)))
        with log.open("wb") as out:
            _children[report] = subprocess.Popen(
                [sys.executable, "-P", "-m", "kmex_core", *arguments],
                env=PATIENT
                | os.environ
                | {
                    "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
                    VARIABLE: name,
                    HANDED: str(held),
                    "KMEX_CACHE": str(store.root.resolve()),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # the process inherits the lock: it is held without a gap
                pass_fds=(held,) if os.name == "posix" else (),
            )
    except OSError as error:
        _write(report, Job("failed", message="The job could not be started.", arguments=tuple(arguments)))
        raise StoreError(f"The job '{name}' cannot be started: {error.strerror or error}.") from error
    finally:
        os.close(held)
    return True


def _taken(lock: Path) -> int | None:
    """An open file that holds a lock; None while another process holds it."""
    for _ in range(20):
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if lock_descriptor(held, blocking=False) and os.fstat(held).st_nlink > 0:  # 0: just removed by `forget`
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)
        time.sleep(0.05)
    return None


def names(store: Store, beginning: str) -> list[str]:
    """The jobs whose names start with `beginning`, newest first."""
    files = regular_files(store.root / ROOM, _REPORT)
    started = {path.stem: job.started for path in files if path.stem.startswith(beginning) and (job := _read(path))}
    return sorted(started, key=lambda name: -started[name])


def forget(store: Store, name: str) -> None:
    """Remove the records of a job that has ended; its results stay.

    Raises:
        InputError: when the store is read-only.
    """
    demand_writable(f"The job '{name}' cannot be removed from the list")
    paths = _paths(store, name)
    if _read(paths.report) is None or (held := _taken(paths.lock)) is None:
        return
    try:
        for path in paths:
            path.unlink(missing_ok=True)
        _children.pop(paths.report, None)
    except OSError as error:
        raise StoreError(f"The job '{name}' cannot be removed from the list: {error.strerror or error}.") from error
    finally:
        os.close(held)


def look(store: Store, name: str) -> Job | None:
    """The state of a job, or None if it was never started.

    A job that died without a report has failed, unless it was asked to stop: a signal that arrives in native code can
    end the process before Python gets to report.
    """
    report, _, lock, stopped = _paths(store, name)
    job = _read(report)
    if job is None or job.state != "running":
        return job
    child = _children.get(report)
    if (child is not None and child.poll() is None) or _held(lock):
        return job
    again = _read(report)  # it may have ended between the two reads
    if again is None or again.state != "running":
        return again
    if stopped.exists():
        return replace(job, state="stopped")
    return replace(job, state="failed", message=f"The job ended without a result. {last_lines(store, name)}".strip())


def last_lines(store: Store, name: str) -> str:
    """The end of a job's log."""
    log = _paths(store, name).log
    try:
        text = log.read_bytes()[-BIG:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line.rsplit("\r", 1)[-1] for line in text.strip().splitlines()]
    return "\n".join(lines[-LOG_LINES:])


def answer(store: Store, name: str) -> dict[str, Any] | None:
    """What a job that is done printed as JSON (see `commands`' option --json); None where there is no such answer."""
    job = look(store, name)
    if job is None or job.state != "done":
        return None
    log = _paths(store, name).log
    try:
        if log.is_symlink() or log.stat().st_size > MOST_ANSWER:
            return None
        lines = [line.rsplit("\r", 1)[-1] for line in log.read_text("utf-8", "replace").split("\n")]
        answer = read_json(next((line for line in reversed(lines) if line.startswith("{")), ""))
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def stop(store: Store, name: str) -> None:
    """Ask a running job to stop; its finished work is kept. A job that has not begun yet never will.

    Raises:
        InputError: when the store is read-only.
    """
    demand_writable(f"The job '{name}' cannot be stopped")
    job = look(store, name)
    report, _, lock, stopped = _paths(store, name)
    if job is None or job.state != "running":
        return
    stopped.touch()
    if not job.pid:  # the process looks for the mark before it begins
        _write(report, replace(job, state="stopped", changed=time.time()))
    elif _held(lock):
        with contextlib.suppress(ProcessLookupError):
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
    """The content of a job's report; None if it is missing or invalid."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > BIG:
            return None
        values = read_json(path.read_text())
        lists = {name: values.get(name, []) for name in ("arguments", "choices")}
        job = Job(**{**values, **{name: tuple(items) for name, items in lists.items()}})
        sound = all(isinstance(items, list) for items in lists.values()) and _sound(job)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return job if sound else None


def _sound(job: Job) -> bool:
    if not isinstance(job.values, dict):
        return False
    texts = (job.state, job.stage, job.message, job.option, *job.choices, *job.arguments, *job.values)
    counts = (job.done, job.total, job.first, job.pid, job.part, job.parts)
    numbers = (*counts, job.started, job.stage_started, job.changed)
    return (
        all(isinstance(text, str) for text in texts)
        and job.state in _STATES
        and all(type(number) in (int, float) and 0 <= number < 2**53 for number in numbers)
        and all(type(number) is int for number in counts)
        and all(type(value) in (int, float) or value is None for value in job.values.values())
        and job.pid < 2**31
    )


def _write(path: Path, job: Job) -> None:
    write_bytes(path, write_json(asdict(job)).encode(), durable=False)


def at_once() -> int:
    """How many trainings, and how many other jobs, may run at the same time on this machine."""
    return max(2, cores.count() // 2)


class Reporter:
    """The job's side: a `Progress` that writes to the store."""

    def __init__(self, store: Store, name: str) -> None:
        self._report, _, self._path, self._stopped = _paths(store, name)
        self._lock: int | None = None
        self._turn: FileLock | None = None
        self._wrote = 0.0
        self._place: tuple[str, str] | None = None
        now = time.time()
        self._job = Job("running", started=now, stage_started=now, changed=now, pid=os.getpid())

    @classmethod
    def of_this_process(cls) -> Reporter | None:
        """The reporter of the job run by this process; None outside a job."""
        name = os.environ.get(VARIABLE)
        return cls(Store(), name) if name else None

    def begin(self) -> bool:
        """Take the job's lock; False when another process has it, or the job was stopped before it began."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._handed() or _taken(self._path)
        if self._lock is None:
            return False
        before = _read(self._report)
        if before is not None:
            self._job = replace(self._job, arguments=before.arguments)
        if self._stopped.exists():
            self._release()
            return False
        self._say(self._job)
        return True

    def _handed(self) -> int | None:
        """The open, locked file inherited from `start`; None if there is none."""
        handed = os.environ.pop(HANDED, "")
        if not handed.isdecimal():
            return None
        try:
            is_ours = os.path.samestat(os.fstat(int(handed)), self._path.stat())
            if not is_ours or not lock_descriptor(int(handed), blocking=False):
                return None
        except OSError:
            return None
        os.set_inheritable(int(handed), False)
        return int(handed)

    def wait_for_turn(self) -> None:
        """Wait while `at_once` jobs are running: trainings wait for trainings, all other jobs for each other.

        Raises:
            KeyboardInterrupt: when the job is stopped meanwhile.
        """
        kind = "training" if self._job.arguments[:1] == (TRAINING,) else "other"
        while True:
            for number in range(at_once()):
                turn = FileLock(self._path.with_name(f".turn-{kind}-{number}.lock"), thread_local=False)
                with contextlib.suppress(Timeout):
                    turn.acquire(timeout=0)
                    self._turn = turn
                    return
            self(Event("Waiting for another job", 0, 0))
            time.sleep(EVERY)

    def __call__(self, event: Event) -> None:
        """Write the job's state, at most four times a second.

        Raises:
            KeyboardInterrupt: when the job was stopped. The signal alone does not always do it: Python drops an
                exception that is raised while it cleans up an object.
        """
        now = time.time()
        new = event.place != self._place
        if not new and (event.done < event.total or event.total == 0) and time.monotonic() - self._wrote < EVERY:
            return
        if self._stopped.exists():
            raise KeyboardInterrupt
        self._place = event.place
        began, first = (now, event.done) if new else (self._job.stage_started, self._job.first)
        self._say(
            replace(
                self._job,
                stage=event.text,
                done=event.done,
                total=event.total,
                first=first,
                part=event.part,
                parts=event.parts,
                values=dict(event.values),
                stage_started=began,
                changed=now,
            )
        )

    def end(self, state: str, message: str = "", option: str = "", choices: tuple[str, ...] = ()) -> None:
        """Write how the job ended, see `Job`."""
        self._say(replace(self._job, state=state, message=message, option=option, choices=choices, changed=time.time()))
        self._release()

    def _say(self, job: Job) -> None:
        self._job, self._wrote = job, time.monotonic()
        _write(self._report, job)

    def _release(self) -> None:
        if self._turn is not None:
            self._turn.release()
        if self._lock is not None:
            os.close(self._lock)
        self._turn = self._lock = None
