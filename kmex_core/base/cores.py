"""Several computations at once on one machine: each takes its share of the cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
