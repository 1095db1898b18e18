"""How networks compute in training: float32, or bfloat16 by autocast with weights, distances and losses in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kmex_core.models.baseline import Baseline

FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)
HEAD = "head"  # of a baseline: distances to prototypes cancel digits, so they need all of them


def fastest(device: str) -> str:
    """The precision in which a device trains fastest: bfloat16 on a card that computes it, else float32."""
    cuda = torch.device(device).type == "cuda"
    return BFLOAT16 if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32


def memory_layout(precision: str, device: str) -> torch.memory_format | None:
    """The order in memory of a network's weights and images; None: as they are.

    Convolutions in 16 bits read channels last. A recorded step needs images without gaps (see `RecordedSteps`).
    """
    if precision == BFLOAT16:
        return torch.channels_last
    return torch.contiguous_format if torch.device(device).type == "cuda" else None


@contextlib.contextmanager
def computing(model: nn.Module, precision: str) -> Iterator[None]:
    """Let the networks of a model compute in a precision; it takes and gives 32-bit floats all the same.

    A network is a module that is called while no other one is: a black box as a whole, the encoder, decoder or
    predictor of a baseline. What a baseline computes from their outputs, and its head, stay in float32, and so do all
    weights. bfloat16 has the range of float32, so gradients need no scaling.

    Args:
        model: the network.
        precision: one of `PRECISIONS`.
    """
    if precision == FLOAT32:
        yield
        return
    regions = _Regions()
    handles = []
    for name, module in model.named_modules():
        if isinstance(model, Baseline) and (not name or name == HEAD or name.startswith(f"{HEAD}.")):
            continue
        handles.append(module.register_forward_pre_hook(regions.enter))
        handles.append(module.register_forward_hook(regions.leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Regions:
    """Autocast around the outermost of nested calls."""

    def __init__(self) -> None:
        self._depth = 0
        self._region: torch.autocast | None = None

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._depth == 0:
            # without the cache of cast weights, which a recorded step could not write anew
            device = next((value.device.type for value in inputs if isinstance(value, Tensor)), "cpu")
            self._region = torch.autocast(device, torch.bfloat16, cache_enabled=False)
            self._region.__enter__()
        self._depth += 1

    def leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        self._depth -= 1
        if self._depth:
            return output
        assert self._region is not None
        self._region.__exit__(None, None, None)
        return output.float() if isinstance(output, Tensor) else output
