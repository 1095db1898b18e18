"""The command `app`: what it starts, and what it refuses to start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import kmex_core
from kmex_core.base.errors import InputError
from kmex_core.commands import dashboard
from tests.helpers.paths import ROOT


def test_a_clones_dashboard_is_found_beside_the_engine_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append([program, *command]))
    monkeypatch.setattr(subprocess, "call", lambda command: 0)
    with pytest.raises(typer.Exit):
        dashboard.dashboard(8600)
    run = [sys.executable, "-P", "-m", "streamlit", "run", str(ROOT / "app" / "Home.py"), "--server.port", "8600"]
    assert started == [[sys.executable, *run]]


def test_without_its_settings_the_dashboard_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's own would let other machines in."""
    monkeypatch.setattr(kmex_core, "__path__", [str(tmp_path / "kmex_core")])
    with pytest.raises(InputError, match="not installed"):
        dashboard.dashboard_entry()
    (tmp_path / "app").mkdir()
    for name in ("__init__.py", "Home.py"):
        (tmp_path / "app" / name).write_text("raise SystemExit('Nothing here is imported to be found.')")
    (tmp_path / "app" / ".streamlit").write_text("../.streamlit")  # a link, as git leaves it where there are none
    with pytest.raises(InputError, match="symbolic links"):
        dashboard.dashboard_entry()
    (tmp_path / "app" / ".streamlit").unlink()
    (tmp_path / "app" / ".streamlit").mkdir()
    (tmp_path / "app" / ".streamlit" / "config.toml").touch()
    assert dashboard.dashboard_entry() == tmp_path / "app" / "Home.py"
