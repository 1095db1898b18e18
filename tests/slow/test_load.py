"""Twenty sessions explain image after image for three minutes: nobody waits long, and nobody gets another's answer.

`KMEX_LOAD_SECONDS` and `KMEX_LOAD_SESSIONS` make it shorter.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import load
from kmex_core.base.store import Store
from tests.helpers.servers import dashboard

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("KMEX_LOAD_SECONDS", "180"))
SESSIONS = int(os.environ.get("KMEX_LOAD_SESSIONS", "20"))
LIMIT = 8.0


def test_many_sessions_at_once_get_their_own_answers_in_time(demo_cache: Path, tmp_path: Path) -> None:
    with dashboard(demo_cache, tmp_path / "log") as address:
        socket = address.replace("http", "ws")
        load.sessions(socket, 2, 5, 500)  # imports and first copies
        answers = load.sessions(socket, SESSIONS, SECONDS, 500)
        same = load.sessions(socket, SESSIONS, 1, 1)  # everybody asks for the same image
    waited = np.array([answer.seconds for answer in answers])
    p50, p95 = np.quantile(waited, [0.5, 0.95])
    print(
        f"{len(answers):,} answers to {SESSIONS} sessions: p50 {p50:.2f} s, p95 {p95:.2f} s, worst {waited.max():.2f} s"
    )
    assert len(answers) >= SESSIONS
    assert load.wrong(Store(demo_cache), [*answers, *same]) == []
    assert p95 <= LIMIT
