"""Memory that computations leave behind goes back to the system once the server rests.

The C library keeps what was freed for the next computation: after one explanation, half a gigabyte. The pages of stored
results that are mapped into memory stay there, too, until the system needs them.
"""

from __future__ import annotations

import ctypes
import sys
import threading

from kmex_core.base.tensor_file import let_go

REST = 5.0  # seconds without a computation
_lock = threading.Lock()
_timer: threading.Timer | None = None


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
    let_go()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
