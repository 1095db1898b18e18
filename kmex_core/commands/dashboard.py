"""The command that opens the dashboard: a process of its own, since the engine imports neither the app nor Streamlit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any

import typer

import kmex_core
from kmex_core.base.errors import InputError
from kmex_core.commands._shared import app

SETTINGS = Path(".streamlit", "config.toml")


@app.command("app")
def dashboard(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port to listen on. Default: 8501, or the next free one.")
    ] = None,
) -> None:
    """Serve the dashboard, for this machine only, until Ctrl-C.

    The server's settings are the same in any folder. Streamlit's environment variables change them:
    STREAMLIT_SERVER_BASE_URL_PATH, for instance.

    Example: python -m kmex_core app --port 8600
    """
    entry = dashboard_entry()
    # -P: a module in the working directory must not take the place of one of the dashboard's
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(entry)]
    command += [] if port is None else ["--server.port", str(port)]
    environment = settings_as_variables(settings_of(entry)) | os.environ
    sys.stdout.flush()
    if os.name == "posix":  # the server takes this process's place: signals and the exit code are its own
        os.execve(command[0], command, environment)
    raise typer.Exit(subprocess.call(command, env=environment))


def dashboard_entry() -> Path:
    """The script that Streamlit runs, found by its import spec beside this engine without importing anything.

    Raises:
        InputError: when the dashboard is not installed with the engine.
    """
    package = PathFinder.find_spec("app", [str(Path(folder).parent) for folder in kmex_core.__path__])
    entry = PathFinder.find_spec("app.Home", package.submodule_search_locations) if package else None
    if entry is None or entry.origin is None:
        raise InputError("The dashboard is not installed beside kmex_core. Install KMEx Explorer again.")
    return Path(entry.origin)


def settings_of(entry: Path) -> Path:
    """The server's settings: beside the entry where a wheel installed them, above it in a clone.

    Raises:
        InputError: when there are none: without them, the server would be open to other machines.
    """
    for folder in entry.parents[:2]:
        if (folder / SETTINGS).is_file():
            return folder / SETTINGS
    raise InputError(f"The dashboard's settings ({SETTINGS}) are missing. Install KMEx Explorer again.")


def settings_as_variables(settings: Path) -> dict[str, str]:
    """The environment variables by which Streamlit takes the same settings as from this file.

    `server.maxUploadSize = 600` is `STREAMLIT_SERVER_MAX_UPLOAD_SIZE=600`; the items of a list have spaces between them.
    """

    def variables(names: tuple[str, ...], value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from variables((*names, name), inner)
        else:
            words = [re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper() for name in names]
            yield "_".join(words), " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return dict(variables(("streamlit",), tomllib.loads(settings.read_text("utf-8"))))
