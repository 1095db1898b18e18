"""Several trainings at once on one device: each in a process of its own, as many as there is memory for."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any

from kmex_core.base import cores
from kmex_core.base.errors import KMExError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.base.store import Store
from kmex_core.data.opened import dataset
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.stages.training_runs import TrainRequest, train, unfinished

log = logging.getLogger(__name__)

MOST = 4  # at once on a GPU, which they share
MARGIN = 2.0  # later stages of a training take more memory than its first steps
CONTEXT = 2**30  # bytes of a process on a card, beside what torch counts
READY = 8  # steps after which a training has taken what its first stage needs
EVERY = 0.2  # seconds between reports of a process
PARTS = 1000  # of a training, in progress
PATIENCE = 10.0  # seconds for a process to end


@dataclass(frozen=True)
class Trained:
    """What became of a training.

    Attributes:
        name: of its model.
        info: the model; None when there is none.
        failure: why there is none; "" otherwise.
        images: that passed through the network now; those of epochs before an interruption do not count.
        seconds: that it took now, with others beside it if there were any.
    """

    name: str
    info: ModelInfo | None
    failure: str = ""
    images: int = 0
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """The images that passed per second, with everything around the steps: reading, checkpoints, test accuracy."""
        return self.images / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class AllTrained:
    """What became of several trainings.

    Attributes:
        trained: in the order of the requests.
        seconds: of all together.
        at_once: the most that ran at the same time.
    """

    trained: tuple[Trained, ...]
    seconds: float
    at_once: int

    @property
    def images_per_second(self) -> float:
        """The images of all trainings that passed per second."""
        return sum(each.images for each in self.trained) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Room:
    """A device's memory after the first steps of a training.

    Attributes:
        free: bytes.
        taken: bytes, by the training.
    """

    free: int
    taken: int


def run_all(
    trainings: Sequence[TrainRequest],
    device: str,
    store: Store,
    at_once: int = 0,
    progress: Progress = silent,
    finished: Callable[[Trained], None] = lambda trained: None,
) -> AllTrained:
    """Train models, several at once on a GPU with memory for them, each from its last checkpoint if it has one.

    One begins; when it has taken its first steps, the memory that is free beside it tells whether another one begins,
    and so on. One that runs out of memory beside others goes on when it is alone. A training that cannot go on (it
    diverges, say) does not stop the others.

    Args:
        trainings: of models that the store does not have, all different.
        device: where they run, whatever the requests say.
        store: receives checkpoints and models.
        at_once: how many at most; 0: `MOST` on a GPU, else 1. One at a time runs in this process.
        progress: called with the progress of all, as one stage. It may raise to stop; finished epochs are kept.
        finished: called after each training, in this process.

    Raises:
        KMExError: when two models have the same name.
    """
    requests = [dataclasses.replace(request, device=device) for request in trainings]
    if len({request.name.lower() for request in requests}) < len(requests):
        raise KMExError(f"Two of these models have the same name: {', '.join(request.name for request in requests)}.")
    most = min(at_once or (MOST if device.startswith("cuda") else 1), len(requests))
    board, started = _Board(len(requests), progress), time.perf_counter()
    try:
        if most <= 1:
            done = _one_by_one(store, requests, board, finished)
        else:
            with _Crew(store, requests, most, board, finished) as crew:
                done = crew.work()
                most = crew.most
    except _Stopped as stopped:
        raise stopped.why from None
    order = tuple(done[request.name] for request in requests)
    return AllTrained(order, time.perf_counter() - started, most)


def fits(free: int, taken: Sequence[int]) -> bool:
    """Whether there is memory for another training.

    Args:
        free: bytes of the device.
        taken: bytes by each of those that run, after their first steps.
    """
    return free >= MARGIN * max(taken)


class _Stopped(BaseException):
    """The caller's progress raised; no training takes it for an error of its own.

    Attributes:
        why: what it raised.
    """

    def __init__(self, why: BaseException) -> None:
        super().__init__(str(why))
        self.why = why


class _Board:
    """The progress of all trainings as one stage."""

    def __init__(self, count: int, progress: Progress) -> None:
        self._count, self._progress = count, progress
        self._shares: dict[str, float] = {}
        self._ended = 0

    def note(self, name: str, event: Event) -> None:
        """Pass on a training's event."""
        if event.parts and event.total:  # its epochs; one that begins again does not go back
            self._shares[name] = max(event.done / event.total, self._shares.get(name, 0.0))
        self._pass_on({"finished": self._ended, **event.values})

    def end(self, name: str) -> None:
        """A training has ended."""
        self._ended += 1
        self._shares[name] = 1.0
        self._pass_on({"finished": self._ended})

    def _pass_on(self, values: dict[str, float]) -> None:
        done = round(PARTS * sum(self._shares.values()))
        try:
            self._progress(Event(f"Training {self._count} models", done, PARTS * self._count, values=values))
        except BaseException as error:
            raise _Stopped(error) from error


def _one_by_one(
    store: Store, requests: Sequence[TrainRequest], board: _Board, finished: Callable[[Trained], None]
) -> dict[str, Trained]:
    done = {}
    for request in requests:
        name = request.name
        try:
            done[name] = _trained(store, request, partial(board.note, name))
        except KMExError as error:
            done[name] = Trained(name, None, str(error))
        finished(done[name])
        board.end(name)
    return done


def _trained(store: Store, request: TrainRequest, progress: Progress) -> Trained:
    """Train a model from its last checkpoint.

    Raises:
        KMExError: when it cannot go on.
    """
    started = time.perf_counter()
    before = len(unfinished(store, request.name) or [])
    info = train(store, request, resume=catalogue.has_run(store, request.name), progress=progress)
    images = len(dataset(request.dataset).split("train")) * (request.recipe.epochs - before)
    return Trained(request.name, info, "", images, time.perf_counter() - started)


# ---- several processes ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Worker:
    """A process that trains a model.

    Attributes:
        request: what it trains.
        process: the process.
        listener: takes its reports, so that it never waits for one to be heard.
        room: what it has reported; None before its first steps.
        company: whether others have run beside it.
    """

    request: TrainRequest
    process: BaseProcess
    listener: Thread
    room: Room | None = None
    company: bool = False


class _Crew:
    """Processes that train models side by side, started one after the other.

    Attributes:
        most: how many ran at the same time, at most.
    """

    def __init__(
        self,
        store: Store,
        requests: Sequence[TrainRequest],
        limit: int,
        board: _Board,
        finished: Callable[[Trained], None],
    ) -> None:
        self._store, self._limit, self._board, self._finished = store, limit, board, finished
        self._waiting = deque(requests)
        self._lonely: deque[TrainRequest] = deque()  # those that ran out of memory beside others
        self._workers: dict[Connection, _Worker] = {}
        self._free = 0  # bytes of the device, as far as has been reported
        self._done: dict[str, Trained] = {}
        self._reports = SimpleQueue[tuple[Connection, Any]]()
        self._context = multiprocessing.get_context("spawn")  # a forked process cannot use a card
        self.most = 0

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes that still run; their checkpoints are kept."""
        for worker in self._workers.values():
            worker.process.terminate()
        for pipe, worker in self._workers.items():
            worker.process.join(PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.listener.join()
            pipe.close()
        self._workers.clear()

    def work(self) -> dict[str, Trained]:
        """Train all, and give what became of each by its name."""
        while self._waiting or self._lonely or self._workers:
            if self._has_room():
                self._start((self._waiting or self._lonely).popleft())
                continue
            self._hear(*self._reports.get())
        return self._done

    def _has_room(self) -> bool:
        workers = list(self._workers.values())
        if not workers:
            return True
        if not self._waiting or len(workers) >= self._limit or any(worker.room is None for worker in workers):
            return False
        return fits(self._free, [worker.room.taken for worker in workers if worker.room is not None])

    def _start(self, request: TrainRequest) -> None:
        try:
            dataset(request.dataset, lambda event: self._board.note(request.name, event))  # downloaded once, if at all
        except KMExError as error:
            self._end(Trained(request.name, None, str(error)))
            return
        ours, theirs = self._context.Pipe(duplex=False)
        threads = max(1, cores.count() // self._limit)
        process = self._context.Process(
            target=_work, args=(theirs, str(self._store.root), request, threads), name=request.name, daemon=True
        )
        process.start()
        theirs.close()
        listener = Thread(target=self._listen, args=(ours,), daemon=True)
        listener.start()
        self._workers[ours] = _Worker(request, process, listener)
        self.most = max(self.most, len(self._workers))
        if len(self._workers) > 1:
            for worker in self._workers.values():
                worker.company = True

    def _listen(self, pipe: Connection) -> None:
        """Take the reports of a process until it ends, which is reported as None."""
        try:
            while True:
                self._reports.put((pipe, pipe.recv()))
        except (EOFError, OSError):  # the latter within a report
            self._reports.put((pipe, None))

    def _hear(self, pipe: Connection, report: Any) -> None:
        """Do what a report of a process asks for, or note that it has ended without one."""
        if pipe not in self._workers:  # the end of one that has reported its result
            return
        worker = self._workers[pipe]
        if report is None:
            worker.process.join()
            report = Trained(worker.request.name, None, f"Its process ended with status {worker.process.exitcode}.")
        if isinstance(report, Event):
            self._board.note(worker.request.name, report)
        elif isinstance(report, Room):
            worker.room, self._free = report, report.free
        elif isinstance(report, _OutOfMemory) and worker.company:
            self._leave(pipe)
            log.warning("'%s' ran out of memory beside others: it goes on when it is alone.", worker.request.name)
            self._lonely.append(worker.request)
        else:
            trained = Trained(worker.request.name, None, report.text) if isinstance(report, _OutOfMemory) else report
            self._leave(pipe)
            self._end(trained)

    def _end(self, trained: Trained) -> None:
        if not trained.failure:
            trained = dataclasses.replace(trained, info=catalogue.describe(self._store, trained.name))
        self._done[trained.name] = trained
        self._finished(trained)
        self._board.end(trained.name)

    def _leave(self, pipe: Connection) -> None:
        worker = self._workers.pop(pipe)
        worker.process.join()
        worker.listener.join()
        self._free += worker.room.taken if worker.room is not None else 0
        pipe.close()


@dataclass(frozen=True)
class _OutOfMemory:
    """A training that found no memory."""

    text: str


def _work(pipe: Connection, root: str, request: TrainRequest, threads: int) -> None:
    """What a process does: train a model, and report events, the memory after the first steps, and the end."""
    import torch

    from kmex_core.networks.memory import out_of_memory

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    torch.set_num_threads(threads)
    reports = _Reports(pipe, request.device)
    try:
        trained = _trained(Store(root), request, reports)
        pipe.send(dataclasses.replace(trained, info=None))  # it is in the store
    except KMExError as error:
        pipe.send(Trained(request.name, None, str(error)))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise  # its text is on stderr, and the other side sees that the process has ended
        pipe.send(_OutOfMemory(f"Not enough memory on '{request.device}' for this training: {error}"))


class _Reports:
    """The progress of a training in a process of its own."""

    def __init__(self, pipe: Connection, device: str) -> None:
        self._pipe, self._device = pipe, device
        self._steps, self._last = 0, 0.0

    def __call__(self, event: Event) -> None:
        self._steps += bool(event.parts)
        if self._steps == READY and event.parts:
            self._pipe.send(_room(self._device))
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            self._pipe.send(event)


def _room(device: str) -> Room:
    """The memory of a device, and what this process has taken of it."""
    import torch

    from kmex_core.networks import memory

    place = torch.device(device)
    if place.type == "cuda":
        return Room(torch.cuda.mem_get_info(place)[0], torch.cuda.max_memory_reserved(place) + CONTEXT)
    return Room(memory.available(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
