"""Several trainings at once: what becomes of each, room for another one, memory that runs out, and stopping."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from kmex_core.base.errors import KMExError
from kmex_core.base.progress import Event
from kmex_core.base.specs import DatasetSpec
from kmex_core.base.store import Store
from kmex_core.data import opened
from kmex_core.models import catalogue, training
from kmex_core.reproduction import parallel
from kmex_core.reproduction.parallel import Room, Trained, run_all
from kmex_core.stages.training_runs import TrainRequest
from tests.helpers.datasets import write_folder

GIB = 2**30


class Stopped(Exception):
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", ("a", "b", "c"), 16, 4, size=16)


def request(folder: Path, name: str, **changes: Any) -> TrainRequest:
    spec = DatasetSpec(str(folder))
    settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.02} | changes
    recipe = training.default_recipe(opened.dataset(spec), False, **settings)
    return TrainRequest(name, spec, "resnet20", recipe, "", "test")


def test_trainings_side_by_side_end_each_in_its_own_way(store: Store, folder: Path) -> None:
    events: list[Event] = []
    ended: list[str] = []

    def note(event: Event) -> None:
        events.append(event)

    requests = [request(folder, "one"), request(folder, "wild", learning_rate=1e20)]
    done = run_all(
        requests, "cpu", store, at_once=2, progress=note, finished=lambda trained: ended.append(trained.name)
    )
    assert [trained.name for trained in done.trained] == ["one", "wild"]
    assert sorted(ended) == ["one", "wild"]
    one, wild = done.trained
    assert "lower learning rate" in wild.failure
    assert wild.info is None
    assert one.info is not None
    assert one.info.made_by["device"] == "cpu"
    assert one.info == catalogue.describe(store, "one")
    assert one.images == 3 * 48
    assert 1 <= done.at_once <= 2
    assert done.images_per_second == pytest.approx(144 / done.seconds)
    assert {event.stage for event in events} == {"Training 2 models"}
    shares = [event.done for event in events]
    assert shares == sorted(shares)
    assert shares[-1] == events[-1].total == 2 * parallel.PARTS


def test_stopped_trainings_keep_their_epochs_and_go_on_one_by_one(store: Store, folder: Path) -> None:
    def stop(event: Event) -> None:
        if catalogue.has_run(store, "one"):  # the other one is about to begin
            raise Stopped

    requests = [request(folder, name, epochs=10) for name in ("one", "two")]
    with pytest.raises(Stopped):
        run_all(requests, "cpu", store, at_once=2, progress=stop)
    assert not {"one", "two"} & set(catalogue.known_names(store))
    assert not multiprocessing.active_children()
    done = run_all(requests, "cpu", store)
    assert done.at_once == 1
    one, two = done.trained
    assert 0 < one.images < 10 * 48
    assert 0 < two.images <= 10 * 48
    # equal seeds: an interruption changes nothing
    assert catalogue.weights_key(store, "one") == catalogue.weights_key(store, "two")


def test_one_by_one_stops_and_fails_in_the_same_way(store: Store, folder: Path) -> None:
    requests = [request(folder, "wild", learning_rate=1e20), request(folder, "one", epochs=1)]
    wild, one = run_all(requests, "cpu", store).trained
    assert "lower learning rate" in wild.failure
    assert one.info is not None

    def stop(event: Event) -> None:
        raise KMExError("The time is up.")  # the caller's own error, not a training's

    with pytest.raises(KMExError, match="The time is up"):
        run_all([request(folder, "late")], "cpu", store, progress=stop)
    with pytest.raises(KMExError, match="same name: Same, same"):
        run_all([request(folder, "Same"), request(folder, "same")], "cpu", store)


# ---- memory, without a card -----------------------------------------------------------------------------------------


def test_another_training_needs_twice_what_one_took() -> None:
    assert parallel.fits(4 * GIB, [GIB, 2 * GIB])
    assert not parallel.fits(4 * GIB - 1, [GIB, 2 * GIB])


class Process(threading.Thread):
    """A thread in a process's place."""

    exitcode = 1

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool) -> None:
        super().__init__(target=self._run, name=name, daemon=daemon)
        end = Connection(os.dup(args[0].fileno()), readable=False)  # as a process has one of its own
        self._work, self._args_of_work = target, (end, *args[1:])

    def _run(self) -> None:
        self._work(*self._args_of_work)
        self._args_of_work[0].close()

    def terminate(self) -> None:
        """A thread ends by itself."""


class Scripted:
    """Processes that report what a script says, and what ran beside what.

    Args:
        reports: of a training: what it sends, by the training's name and how many ran when it began.
    """

    def __init__(self, reports: Callable[[str, int], list[Any]]) -> None:
        self.reports, self.running, self.log = reports, set[str](), list[tuple[str, ...]]()
        self.lock = threading.Lock()
        self.Process, self.Pipe = Process, multiprocessing.get_context("spawn").Pipe

    def work(self, pipe: Connection, root: str, request: TrainRequest, threads: int) -> None:
        with self.lock:
            self.running.add(request.name)
            self.log.append(tuple(sorted(self.running)))
            reports = self.reports(request.name, len(self.running))
        for report in reports:
            if isinstance(report, threading.Event):
                report.wait(10)
            elif callable(report):
                report()
            else:
                if not isinstance(report, Room | Event):
                    with self.lock:
                        self.running.discard(request.name)
                pipe.send(report)
        with self.lock:
            self.running.discard(request.name)


def crew(
    monkeypatch: pytest.MonkeyPatch,
    store: Store,
    folder: Path,
    scripted: Scripted,
    count: int,
    finished: Callable[[Trained], None] = lambda trained: None,
) -> Any:
    monkeypatch.setattr(parallel, "_work", scripted.work)
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: scripted)
    monkeypatch.setattr(catalogue, "describe", lambda store, name: f"model {name}")
    return run_all([request(folder, f"m{at}") for at in range(count)], "cpu", store, at_once=4, finished=finished)


def test_as_many_train_at_once_as_there_is_memory_for(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_ran = threading.Event()

    def reports(name: str, running: int) -> list[Any]:
        if running == 2:
            two_ran.set()
        return [Room((7 - 2 * running) * GIB, 2 * GIB), two_ran, Trained(name, None)]  # a third one would not fit

    scripted = Scripted(reports)
    done = crew(monkeypatch, store, folder, scripted, 4)
    assert done.at_once == 2
    assert [trained.info for trained in done.trained] == ["model m0", "model m1", "model m2", "model m3"]
    assert max(len(running) for running in scripted.log) == 2


def test_who_runs_out_of_memory_beside_others_goes_on_alone(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reports(name: str, running: int) -> list[Any]:
        full = name == "m2" or (name == "m1" and running > 1)
        room = [Room(9 * GIB, GIB)]
        return [*room, parallel._OutOfMemory("no memory")] if full else [*room, began, Trained(name, None)]

    began = threading.Event()
    warned: list[str] = []

    def warn(text: str, name: str) -> None:
        warned.append(name)
        began.set()

    monkeypatch.setattr(parallel.log, "warning", warn)
    scripted = Scripted(reports)
    done = crew(monkeypatch, store, folder, scripted, 3)
    assert [trained.failure for trained in done.trained] == ["", "", "no memory"]
    assert "m1" in warned
    assert scripted.log[-1] in {("m1",), ("m2",)}  # alone at last


def test_a_training_does_not_wait_until_its_reports_are_heard(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, sent = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def reports(name: str, running: int) -> list[Any]:
        room = Room(9 * GIB, GIB)
        if name == "m0":
            return [room, began, Trained(name, None)]
        return [room, began.set, *[Event("x" * 1000, 0, 1)] * 500, sent.set, Trained(name, None)]

    def busy(trained: Trained) -> None:
        if trained.name == "m0":  # it is measured now, say
            in_time.append(sent.wait(20))

    crew(monkeypatch, store, folder, Scripted(reports), 2, busy)
    assert in_time == [True]


def test_a_process_that_dies_is_a_failure_with_its_status(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = crew(monkeypatch, store, folder, Scripted(lambda name, running: []), 2)
    assert {trained.failure for trained in done.trained} == {"Its process ended with status 1."}
