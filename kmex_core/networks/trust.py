"""Functions of the user's own that may build networks on this machine: asked for once, kept in the store's folder.

The list is never taken from an uploaded or imported file, and never leaves this machine with a model.
"""

from __future__ import annotations

import re
from pathlib import Path

from kmex_core.base.errors import InputError
from kmex_core.base.files import write_bytes
from kmex_core.base.jsontext import read_json, write_json
from kmex_core.base.location import default_root
from kmex_core.base.store import demand_writable

FILE = "trusted.json"
PREFIXES = ("torchvision", "timm", "hf", "onnx", "export")
_once: dict[str, str] = {}  # the folders of functions that this process may run
FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_function(name: str) -> bool:
    """Whether a text names a function: `module:function`, `package.module:Class.make`; not a network of a source."""
    return bool(FUNCTION.fullmatch(name)) and name.partition(":")[0] not in PREFIXES


def folder_of(name: str) -> Path | None:
    """The folder in which the module of an allowed function is looked for; None if the function is not allowed."""
    folder = _once.get(name) or _allowed().get(name)
    return Path(folder) if folder is not None else None


def allow_here(name: str, folder: Path) -> None:
    """As `allow`, for this process only; nothing is kept.

    Raises:
        InputError: for a name that is no function's.
    """
    _check_function(name)
    _once[name] = str(folder.resolve())


def allow(name: str, folder: Path) -> None:
    """Allow a function to build networks on this machine, now and whenever one of its networks is loaded.

    Args:
        name: `module:function`.
        folder: where its module is looked for.

    Raises:
        InputError: for a name that is no function's, and in a read-only store.
    """
    _check_function(name)
    allowed = _allowed()
    if allowed.get(name) == str(folder.resolve()):
        return
    demand_writable(f"The function {name} cannot be allowed")
    allowed[name] = str(folder.resolve())
    write_bytes(default_root() / FILE, write_json(allowed).encode())


def _check_function(name: str) -> None:
    if not is_function(name):
        raise InputError(f"Expected the name of a function, such as my_networks:make, got '{name}'.")


def refusal(name: str) -> InputError:
    """What to say of a function that is not allowed."""
    return InputError(
        f"This network is built by the function {name}, which would run on this machine. If you know and trust it, "
        f"allow it once: `python -m kmex_core trust {name}`, in the folder of its module."
    )


def _allowed() -> dict[str, str]:
    try:
        value = read_json((default_root() / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: folder for name, folder in value.items() if is_function(name) and isinstance(folder, str)}
