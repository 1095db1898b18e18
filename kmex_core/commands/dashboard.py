"""The command that opens the dashboard, in a process of its own: the engine imports neither the app nor Streamlit."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated

import typer

import kmex_core
from kmex_core.base.errors import InputError
from kmex_core.commands._shared import app


@app.command("app")
def dashboard(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port to listen on. Default: 8501, or the next free one.")
    ] = None,
) -> None:
    """Serve the dashboard, for this machine only, until Ctrl-C.

    The server's settings are the same in any folder. Streamlit's environment variables change them:
    STREAMLIT_SERVER_BASE_URL_PATH, for instance. The exit code is Streamlit's.

    Example: python -m kmex_core app --port 8600
    """
    # -P: a module in the working directory must not take the place of one of the dashboard's
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(dashboard_entry())]
    command += [] if port is None else ["--server.port", str(port)]
    if os.name == "posix":  # the server takes this process's place: signals and the exit code are its own
        os.execv(command[0], command)
    raise typer.Exit(subprocess.call(command))


def dashboard_entry() -> Path:
    """The script that Streamlit runs, found by its import spec beside this engine without importing anything.

    Raises:
        InputError: when the dashboard is not installed with the engine, or has no settings: Streamlit reads them from
            beside the script, and would let other machines in without them.
    """
    package = PathFinder.find_spec("app", [str(Path(folder).parent) for folder in kmex_core.__path__])
    spec = PathFinder.find_spec("app.Home", package.submodule_search_locations) if package else None
    if spec is None or spec.origin is None:
        raise InputError("The dashboard is not installed beside kmex_core. Install KMEx Explorer again.")
    settings = Path(spec.origin).parent / ".streamlit" / "config.toml"
    if not settings.is_file():
        raise InputError(
            f"The dashboard's settings are missing: {settings} does not exist. If you have cloned KMEx Explorer, check "
            "it out with symbolic links (git config core.symlinks true)."
        )
    return Path(spec.origin)
