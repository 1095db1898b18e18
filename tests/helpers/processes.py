"""Command lines in processes that start in a moment, to be killed in great numbers."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from kmex_core.commands import app

IMPORTED = (
    "analysis.export",
    "models.kmex",
    "models.training",
    "relevance",
    "stages.importing",
    "stages.evaluation",
    "stages.subject",
    "stages.training_runs",
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.helpers.processes", *(f"kmex_core.{name}" for name in IMPORTED)])


def _command(arguments: list[str], root: str, out: str) -> None:
    os.environ |= {"KMEX_CACHE": root, "OMP_NUM_THREADS": "1"}
    for descriptor, path in ((1, out), (2, f"{out}.err")):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.argv = ["kmex_core", *arguments]
    app()


class Processes:
    """Runs command lines on the store `root`, each forked from a process that has imported all and computed nothing."""

    def __init__(self, root: Path) -> None:
        self._root, self._out = root, root.parent / "output"

    def start(self, arguments: list[str]) -> ForkServerProcess:
        """Start a command line."""
        process = CONTEXT.Process(target=_command, args=(arguments, str(self._root), str(self._out)))
        # Streamlit's tests leave a page's script as the main module, which every child would run
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        return process

    def finish(self, arguments: list[str], timeout: float = 300) -> dict[str, Any]:
        """Run a command line, which must succeed, and give its answer (`--json`), or an empty one."""
        process = self.start(arguments)
        process.join(timeout)
        errors = Path(f"{self._out}.err").read_text(errors="replace")
        assert process.exitcode == 0, f"{arguments}: {process.exitcode}\n{errors[-3000:]}"
        answer: dict[str, Any] = json.loads(self._out.read_text()) if "--json" in arguments else {}
        return answer
