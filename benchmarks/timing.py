"""How long something takes, beside a straightforward way of doing the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def times(work: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each run, after one that is not counted."""
    work()
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def pair(what: str, ours: Callable[[], object], plain: Callable[[], object], runs: int = 5) -> list[dict[str, Any]]:
    """Rows with the median of both and their ratio."""
    fast, slow = times(ours, runs), times(plain, runs)
    ratio = statistics.median(slow) / statistics.median(fast)
    return [
        {"what": f"{what}: ours", "median": round(statistics.median(fast), 4), "runs": runs, "unit": "s"},
        {"what": f"{what}: straightforward", "median": round(statistics.median(slow), 4), "runs": runs, "unit": "s"},
        {"what": f"{what}: times faster", "median": round(ratio, 2), "unit": "×"},
    ]
