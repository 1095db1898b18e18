"""The operations that an encoder runs, written down while it runs, whatever modules or functions run them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
BATCH_NORMS = {
    ATEN.native_batch_norm, ATEN._native_batch_norm_legit_no_training, ATEN.cudnn_batch_norm, ATEN.miopen_batch_norm,
}  # fmt: skip
PRECISION = {torch.float16: 2e-2, torch.bfloat16: 1e-1}


class NoRules(ValueError):
    """The encoder runs an operation that the rules do not cover; the message names it."""


@dataclass(frozen=True)
class Place:
    """A placeholder in the arguments of a step for the result of another step.

    Attributes:
        step: its number.
        position: which of its results, 0 for an operation with one.
    """

    step: int
    position: int = 0


@dataclass
class Step:
    """An operation on a value that depends on the images.

    Attributes:
        packet: the operation.
        arguments, options: what it was called with; `Place` for what depends on the images.
        output: what it returned.
        sources: the steps whose results it takes, in the order of the arguments.
        uses: how many other steps take its result.
    """

    packet: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    output: Any
    sources: list[int]
    uses: int = 0


class _Slow(TorchFunctionMode):
    """Changes nothing, but PyTorch's fused Transformer layers, which hide their operations, are off beside it. (It
    holds for this thread alone; PyTorch's own switch would hold for all.)"""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Recorder(TorchDispatchMode):
    """Records every operation on values that depend on the images, in order; step 0 is the images.

    Args:
        images: (N, C, H, W).
        fresh: operations whose results depend on the shape of their arguments alone, and so not on the images.
    """

    def __init__(self, images: Tensor, fresh: Iterable[Any] = ()) -> None:
        super().__init__()
        self.steps = [Step(None, (), {}, images, [])]
        self._made_by: dict[int, Place] = {id(images): Place(0)}
        self._fresh = set(fresh)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if torch.is_inference_mode_enabled() and func._can_decompose():
            # under inference mode composite operations arrive whole: record their parts, as elsewhere
            with self:
                return func.decompose(*args, **given)
        sources: list[int] = []

        def known(value: Any) -> Any:
            if isinstance(value, Tensor) and id(value) in self._made_by:
                place = self._made_by[id(value)]
                sources.append(place.step)
                return place
            if isinstance(value, list | tuple):
                return type(value)(map(known, value))
            return value

        arguments = tuple(map(known, args))
        options = {name: known(value) for name, value in given.items()}
        output = func(*args, **given)
        if sources and func.overloadpacket not in self._fresh:
            self.steps.append(Step(func.overloadpacket, arguments, options, output, sources))
            for position, tensor in enumerate(output if isinstance(output, list | tuple) else [output]):
                if isinstance(tensor, Tensor):
                    self._made_by[id(tensor)] = Place(len(self.steps) - 1, position)
        return output

    def place_of(self, value: Any) -> Place:
        """Where a tensor was computed.

        Raises:
            NoRules: when no recorded step has computed it.
        """
        if not isinstance(value, Tensor) or id(value) not in self._made_by:
            raise NoRules("an embedding that does not depend on the image")
        return self._made_by[id(value)]

    def tolerance(self, z: Tensor) -> float:
        """The allowed deviation of recomputed embeddings from the encoder's, relative to the largest value, by the
        float types that it computes with."""
        kinds = {step.output.dtype for step in self.steps if isinstance(step.output, Tensor)}
        if z.is_cuda and torch.backends.cudnn.allow_tf32:
            kinds.add(torch.float16)  # convolutions in TF32 have its 10 bits of mantissa
        return max(PRECISION.get(kind, 1e-3) for kind in kinds)


def record(encoder: nn.Module, images: Tensor, fresh: Iterable[Any] = ()) -> tuple[Recorder, Tensor]:
    """What an encoder runs on images.

    Args:
        encoder: images to embeddings (N, D). It runs once, without gradients, and is not changed.
        images: (N, C, H, W).
        fresh: see `Recorder`.

    Returns:
        The record, and the embeddings (N, D).
    """
    images = images.detach().clone()
    with torch.no_grad(), _Slow(), Recorder(images, fresh) as recorder:
        z = encoder(images)
    return recorder, z


def needed(steps: list[Step], last: int) -> list[int]:
    """The steps that a step's result depends on, and it, in order."""
    numbers: set[int] = set()
    waiting = [last]
    while waiting:
        number = waiting.pop()
        if number not in numbers:
            numbers.add(number)
            waiting += steps[number].sources
    return sorted(numbers)


def equal(z: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether embeddings (N, D) are the expected ones within a tolerance, relative to the largest value."""
    if z.shape != expected.shape:
        return False
    return bool((z - expected.to(z.dtype)).abs().amax() <= tolerance * expected.abs().amax())


def named(packet: Any) -> str:
    """An operation, as the reason of `NoRules`."""
    return f"the operation '{packet.__name__.strip('_')}'"


def to_float(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in another float type; integers and booleans unchanged."""
    return value.to(dtype) if value.is_floating_point() else value
