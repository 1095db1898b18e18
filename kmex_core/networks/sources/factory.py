"""Networks that a function of the user's own builds."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from kmex_core.base.errors import InputError
from kmex_core.networks.architecture_source import ArchitectureSource, Plan, Proposal
from kmex_core.networks.trust import folder_of, refusal


class Factory(ArchitectureSource):
    """A function that is importable on this machine and returns a network. It runs only once the user has allowed it
    here (`networks.trust`): the name alone, which an imported file may bring, runs nothing."""

    name = ""
    title = "Function of your own"
    about = "a function of your own that returns the network, such as my_networks:make"

    def propose(self, name: str, outputs: int | None, own_weights: bool = False) -> Proposal:
        """See `ArchitectureSource.propose`. Size and channels are the function's."""
        return Proposal(_made(name, outputs), {"classes": outputs})

    def build(self, plan: Plan, arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """See `ArchitectureSource.build`."""
        return _made(plan.name, plan.details.get("classes"))


def _made(name: str, outputs: int | None) -> nn.Module:
    folder = folder_of(name)
    if folder is None:
        raise refusal(name)
    function = _found(name, folder)
    given: dict[str, Any] = {}
    if outputs is not None and "num_classes" in inspect.signature(function).parameters:
        given = {"num_classes": outputs}
    try:
        module = function(**given)
    except Exception as error:  # the user's own code
        raise InputError(f"{name}({', '.join(given)}) failed ({type(error).__name__}: {error}).") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{name} returned a {type(module).__name__}; expected a torch.nn.Module.")
    return module


def _found(name: str, folder: Path) -> Any:
    where, _, called = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        found: Any = importlib.import_module(where)
    except Exception as error:  # the user's own code
        raise InputError(
            f"The module {where} cannot be imported ({type(error).__name__}: {error}). It is looked for in {folder} "
            "and among the installed packages."
        ) from error
    for part in called.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise InputError(f"The module {where} has no function '{called}'.")
    return found
