"""Passes through a user's network: observed by hooks, with its state restored whatever happens."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class Call:
    """One run of a layer.

    Attributes:
        name: the layer's name in the argument of `watched`.
        inputs: its positional arguments.
        output: its result.
    """

    name: str
    inputs: tuple[Any, ...]
    output: Any


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes: the device of its first parameter, or buffer; the CPU without any."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside `torch.compile`, DataParallel and DistributedDataParallel, which compute what it computes."""
    while True:
        if _is_optimized(model):
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        else:
            return model


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for all parts of a network, without compilation; afterwards each part's mode is restored.

    The flags are set, not `model.eval()` called: a module may do more in its own `train` (merge weights, say) than
    can be undone. Passes in several threads share the mode; the last one puts it back.
    """
    changed: list[nn.Module] = []
    eager = _Eager(any(_is_compiled(part) for part in model.modules()))
    try:
        try:
            with _modes_lock:
                for part in model.modules():
                    if part.training or part in _passes_of:
                        changed.append(part)
                        _passes_of[part] = _passes_of.get(part, 0) + 1
                        part.training = False
                eager.begin()
            yield
        finally:
            _put_back(changed, eager)
    finally:  # again, because Ctrl-C can come anywhere in the first one
        _put_back(changed, eager)


def _put_back(changed: list[nn.Module], eager: _Eager) -> None:
    with _modes_lock:
        eager.end()
        while changed:
            part = changed[-1]
            if _passes_of.get(part, 1) == 1:
                part.training = True
                _passes_of.pop(part, None)
            else:
                _passes_of[part] -= 1
            changed.pop()


class _Eager:
    """Compiled parts run as they were written while any pass needs it: a compiled part does not call hooks."""

    passes = 0
    stance: ClassVar[contextlib.ExitStack] = contextlib.ExitStack()

    def __init__(self, needed: bool) -> None:
        self.needed, self.begun = needed, False

    def begin(self) -> None:
        if self.needed:
            if _Eager.passes == 0:
                _Eager.stance.enter_context(torch.compiler.set_stance("force_eager"))
            _Eager.passes += 1
            self.begun = True

    def end(self) -> None:
        if self.begun:
            if _Eager.passes == 1:
                _Eager.stance.close()
            _Eager.passes -= 1
            self.begun = False


def _is_compiled(part: nn.Module) -> bool:
    return _is_optimized(part) or part._compiled_call_impl is not None


def _is_optimized(part: nn.Module) -> bool:
    return "_orig_mod" in part._modules  # torch.compile's OptimizedModule, whose import takes seconds


_modes_lock = threading.RLock()
_passes_of: dict[nn.Module, int] = {}


@contextlib.contextmanager
def watched(layers: Mapping[str, nn.Module]) -> Iterator[list[Call]]:
    """A list that receives a `Call` for every run of the layers in this thread, in the order in which they end."""
    calls: list[Call] = []
    thread = threading.get_ident()
    notes: set[Callable[..., None]] = set()

    def watcher(name: str) -> Callable[..., None]:
        def note(_module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
            if threading.get_ident() == thread:
                calls.append(Call(name, (*inputs, *keywords.values()), output))

        notes.add(note)
        return note

    def remove() -> None:  # looks for them, because Ctrl-C can come between a hook and its handle
        with _hooks_lock:
            for layer in layers.values():
                for key in [key for key, hook in list(layer._forward_hooks.items()) if hook in notes]:
                    layer._forward_hooks_with_kwargs.pop(key, None)
                    layer._forward_hooks.pop(key, None)

    try:
        try:
            with _hooks_lock:  # torch numbers hooks without a lock
                for name, layer in layers.items():
                    layer.register_forward_hook(watcher(name), with_kwargs=True)
            yield calls
        finally:
            remove()
    finally:
        remove()


@contextlib.contextmanager
def strangers(model: nn.Module) -> Iterator[list[nn.Module]]:
    """A list that receives every module with weights or buffers that runs in this thread but is not part of `model`."""
    known = set(model.modules())
    seen: list[nn.Module] = []
    thread = threading.get_ident()

    def note(module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread and module not in known and (module._parameters or module._buffers):
            seen.append(module)

    handles: list[RemovableHandle] = []
    try:
        if not any(_is_compiled(part) for part in known):  # torch warns of such hooks there
            with _hooks_lock:
                handles.append(register_module_forward_pre_hook(note))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


_hooks_lock = threading.RLock()


@contextlib.contextmanager
def same_random_numbers(device: torch.device) -> Iterator[None]:
    """Restore the state of torch's random generators afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
