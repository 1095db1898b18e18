"""Several computations at once on one machine: each takes its share of the cores."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
ResultT = TypeVar("ResultT")

_lock = threading.Lock()
_running = 0
_threads = 0  # torch's thread count before the first computation now running


def count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def shared() -> Iterator[None]:
    """Divide torch's threads evenly between the computations that run at the same time.

    torch's threads wait for each other by spinning: with more threads than cores, small networks take ten times as
    long. The setting applies to the thread that makes it and to threads started after it.
    """
    import torch

    global _running, _threads
    with _lock:
        if _running == 0:
            _threads = torch.get_num_threads()
        _running += 1
        torch.set_num_threads(max(1, _threads // _running))
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            torch.set_num_threads(_threads)


@contextmanager
def workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in which torch computes on one core each, so that they never wait for each other; they end with it."""
    import torch

    started = threading.Barrier(threads + 1)
    own = torch.get_num_threads()

    def begin() -> None:
        torch.set_num_threads(1)
        started.wait()

    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        try:
            for _ in range(threads):  # each job starts a thread, since none is idle before all have begun
                pool.submit(int)
            started.wait()
        except BaseException:
            started.abort()
            raise
        finally:
            torch.set_num_threads(own)  # for threads started from now on
        yield pool


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[T], ResultT], items: Iterable[T], ahead: int
) -> Iterator[ResultT]:
    """`work` of each item by the threads of a pool, in the order of the items.

    Args:
        pool: computes.
        work: its errors are raised here, in the place of its result.
        items: taken in the calling thread.
        ahead: the most items that are taken and not yet given.
    """
    waiting = deque[Future[ResultT]]()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for job in waiting:
            job.cancel()
