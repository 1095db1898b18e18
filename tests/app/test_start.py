"""What the server imports when, and what it does about it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import spare_memory, warm_up
from app.routes.later import Later
from tests.helpers.paths import ROOT

SERVER = """
from app import Home
assert "numpy" not in sys.modules, "the server waits for the engine"
"""
OPENED = """
from streamlit.testing.v1 import AppTest

def opened(view, **query):
    page = AppTest.from_file("app/frame.py", default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    page.switch_page(f"views/{view}.py").run()
    assert not page.exception, page.exception
    return page
"""
PAGES = f"""{OPENED}
from app import read
from app.selection import KS, Selection
from app.workspace import catalogue
from app.workspace.answer import Asked
from app.workspace.given import given
from kmex_core.prototypes.source import KMeans

assert opened("home").title
assert opened("explore", model="faces").get("bidi_component")
(info,) = (info for info in read.models() if info.name == "faces")
subject = read.subject(info)
data = given(subject, Selection(info, KMeans(5)), [KMeans(k) for k in KS], None)
# what Explore fetches ahead before anybody uses it: most numbers have not been converted
ahead = set(data["sources"]) - set(data["unconverted"])
assert "kmeans:5:0:auto" in ahead and len(ahead) < len(KS), ahead
for text in ahead:
    asked = Asked(data["sources"][text]["key"], {{"source": text}})
    assert catalogue.read(subject, "layer", asked).content
"""
NEW = f"""{OPENED}
assert "Choose images to begin" in opened("new").info[0].value
"""
COMMANDS = "import kmex_core.commands"
NETWORK = """
import torch
from kmex_core.networks import architectures, memory
assert memory.bytes_per_row(architectures.build("resnet20", 3, 32).eval(), torch.zeros(3, 3, 32, 32), True) > 0
"""
TABLES = {"pandas", "pyarrow"}
HEAVY = {"torch", "scipy", "sklearn", "umap", "numba", "zennit", "onnx", *TABLES}


@pytest.mark.parametrize(
    ("code", "not_needed"),
    [
        (SERVER, HEAVY),
        (PAGES, HEAVY),
        (NEW, HEAVY - TABLES),
        (COMMANDS, HEAVY),
        (NETWORK, {"torchvision", "torch._dynamo", "sympy", "zennit", *TABLES}),
    ],
    ids=["server", "Home and Explore", "New", "commands", "resnet20"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path: Path, code: str, not_needed: set[str]) -> None:
    """What takes hundreds of megabytes, or most of a second: `python -X importtime -c` shows who imports it."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sorted({not_needed} & set(sys.modules)))"],
        cwd=ROOT,
        env=os.environ | {"KMEX_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.strip() == "", f"imported without need: {ended.stdout}"


def test_a_page_can_ask_for_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(warm_up, "engine", lambda: asked.append(True))
    client = TestClient(Starlette(routes=[Later("app.routes.engine", "/engine")]))
    assert client.get("/engine").status_code == 405
    assert client.get("/engines").status_code == 404
    assert not asked
    assert client.post("/engine").status_code == 204
    assert asked == [True]


def test_modules_are_imported_once_and_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    done, imported = threading.Event(), list[str]()
    monkeypatch.setattr(warm_up, "importlib", SimpleNamespace(import_module=imported.append))
    monkeypatch.setattr(warm_up, "gc", SimpleNamespace(collect=lambda: 0, freeze=done.set))
    for _ in range(2):
        warm_up._imported(("one", "two"))
    assert done.wait(10)
    assert imported == ["one", "two"]


def test_memory_goes_back_once_the_server_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    given, back = list[float](), threading.Event()
    monkeypatch.setattr(spare_memory, "REST", 0.05)

    def give_back() -> None:
        given.append(1.0)
        back.set()

    monkeypatch.setattr(spare_memory, "give_back", give_back)
    monkeypatch.setitem(sys.modules, "torch", sys)  # whatever it is
    for _ in range(20):
        spare_memory.give_back_at_rest()
    assert back.wait(10)
    assert len(given) == 1
    monkeypatch.delitem(sys.modules, "torch")
    back.clear()
    spare_memory.give_back_at_rest()
    assert not back.wait(0.2)


def test_memory_is_given_back() -> None:
    spare_memory.give_back()  # on any system
