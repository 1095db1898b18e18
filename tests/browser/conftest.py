"""A real server and a real browser. Where there is no Chromium the tests skip and say so."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect, sync_playwright

from tests.conftest import ROOT

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


expect.set_options(timeout=60_000)


def _bad(answer: Response) -> bool:
    # on a page below the root, Streamlit looks for its server below that page first
    return answer.status >= 400 and "/_stcore/" not in answer.url


def _bad_message(message: ConsoleMessage) -> bool:
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def dashboard(cache: Path, log: Path, prefix: str = "", host: str = "127.0.0.1", **environment: str) -> Iterator[str]:
    """The address of the dashboard on the store `cache`, started as the README says; its log must have no traceback.

    Args:
        cache: the store.
        log: where its output goes.
        prefix: its `server.baseUrlPath`.
        host: its `server.address`.
        environment: further variables of its environment.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/Home.py", "--server.port", str(port)]
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
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
        else:
            pytest.fail(f"The server did not start:\n{log.read_text()}")
        yield address
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def server(demo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the dashboard on the demo."""
    with dashboard(demo_cache, tmp_path_factory.mktemp("server") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("There is no Chromium here: install Debian's package chromium to run the browser tests.")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """A page in a session of its own. It must neither log an error nor ask any other machine for anything."""
    with watched(browser, server) as opened:
        yield opened


@contextmanager
def watched(browser: Browser, server: str, **options: Any) -> Iterator[Page]:
    """A page in a session of its own, with `options` of Playwright's. At its end, it must neither have logged an error
    (a breach of the Content-Security-Policy is one) nor have asked any other machine for anything.
    """
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "base_url": server, **options})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    asked: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("response", lambda answer: errors.append(f"{answer.status} {answer.url}") if _bad(answer) else None)
    opened.on("console", lambda message: errors.append(message.text) if _bad_message(message) else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield opened
    finally:
        context.close()
    elsewhere = [url for url in asked if not url.startswith((server, "data:", "blob:", server.replace("http", "ws")))]
    assert elsewhere == []
    assert errors == []
