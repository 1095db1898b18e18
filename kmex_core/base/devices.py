"""Where to compute."""

from __future__ import annotations

from kmex_core.base.errors import InputError


def checked_device(name: str = "") -> str:
    """A usable torch device: `name`, or by default a GPU if there is one, else the CPU.

    Raises:
        InputError: when torch cannot use it.
    """
    import torch

    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=name).sum().item()  # the device "meta" has tensors without values
    except (RuntimeError, AssertionError, ImportError, NotImplementedError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"The device '{name}' cannot be used ({reason}). Try cpu.") from error
    return name
