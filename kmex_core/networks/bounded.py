"""Networks whose description comes from a file are built no larger than their weights in it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from kmex_core.base.errors import InputError

SLACK, LEAST = 4, 64 * 2**20  # builders may make parts that they replace
Built = TypeVar("Built", bound=nn.Module)


class _TooLarge(Exception):
    pass


def built_within(build: Callable[[], Built], weights: Mapping[str, Any]) -> Built:
    """What `build` makes, unless it would be far larger than its weights.

    It is built without memory first (on torch's device "meta"). What cannot be built there is still watched.

    Args:
        build: makes a network with new weights.
        weights: arrays or tensors, its weights.

    Raises:
        InputError: for a network that is far larger.
    """
    size = sum(int(value.nbytes) for value in weights.values())
    most = SLACK * size + LEAST, SLACK * len(weights) + 1000
    elsewhere = (NotImplementedError, RuntimeError, TypeError, ValueError)  # what needs values, which "meta" has not
    try:
        with _watched(*most), contextlib.suppress(*elsewhere), torch.device("meta"):
            build()
        with _watched(*most):
            return build()
    except _TooLarge:
        raise InputError(
            f"Its description asks for a network that is far larger than the {size / 2**20:,.1f} MiB of weights in it."
        ) from None


@contextlib.contextmanager
def _watched(most: int, parts: int) -> Iterator[None]:
    """Refuses parameters and buffers of more than `most` bytes, or `parts`, before memory is used for them."""
    thread, taken = threading.get_ident(), [0, 0]

    def note(_module: nn.Module, _name: str, value: Tensor | None) -> None:
        if isinstance(value, Tensor) and threading.get_ident() == thread:
            taken[0] += value.nbytes
            taken[1] += 1
            if taken[0] > most or taken[1] > parts:
                raise _TooLarge

    handles = [
        hooks.register_module_parameter_registration_hook(note),
        hooks.register_module_buffer_registration_hook(note),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
