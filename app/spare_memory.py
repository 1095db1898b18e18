"""Memory that computations leave behind goes back to the system once the server rests.

The C library keeps what was freed for the next computation: after one explanation, half a gigabyte, and by default
each of many threads does so. The pages of stored results that are mapped into memory stay, too, until the system
needs them.
"""

from __future__ import annotations

import ctypes
import sys
import threading

REST = 5.0  # seconds without a computation
ARENAS = 2  # places that all threads share to take memory from; otherwise there are eight for each core
_M_ARENA_MAX = -8  # of glibc's malloc.h
_lock = threading.Lock()
_timer: threading.Timer | None = None


def share_arenas() -> None:
    """Let threads share what each keeps for the next computation, where the C library can (glibc)."""
    if (set_option := _function("mallopt")) is not None:
        set_option(_M_ARENA_MAX, ARENAS)


def give_back_at_rest() -> None:
    """Give it back when nothing calls this for `REST` seconds. Does nothing before torch is imported."""
    global _timer
    if "torch" not in sys.modules:
        return
    with _lock:
        if _timer is not None:
            _timer.cancel()
        _timer = threading.Timer(REST, give_back)
        _timer.daemon = True
        _timer.start()


def give_back() -> None:
    """Give back what is free now, where the C library can (glibc), and the pages of stored results."""
    from kmex_core.base.tensor_file import let_go  # the server starts without NumPy

    let_go()
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
