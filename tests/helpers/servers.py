"""Servers in processes of their own, and what is asked of them."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.helpers.paths import ROOT

Result = TypeVar("Result")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until the dashboard that a process serves answers; fail with its log if it ends or needs two minutes."""
    for _ in range(480):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
    pytest.fail(f"The server did not start:\n{log.read_text()}")


@contextmanager
def dashboard(
    cache: Path,
    log: Path,
    prefix: str = "",
    host: str = "127.0.0.1",
    script: str = "app/Home.py",
    **environment: str,
) -> Iterator[str]:
    """The address of the dashboard on the store `cache`, started as the README says; its log must have no traceback.

    Args:
        cache: the store.
        log: where its output goes.
        prefix: its `server.baseUrlPath`.
        host: its `server.address`.
        script: what is served, relative to the root.
        environment: further variables of its environment.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)]
    command += ["--server.address", host] + (["--server.baseUrlPath", prefix] if prefix else [])
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"KMEX_CACHE": str(cache)} | environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/{prefix}".rstrip("/")
    try:
        wait_until_healthy(process, address, log)
        yield address
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(20)


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine gives, in a thread of its own: Playwright has a running loop in the one that tests are in."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
