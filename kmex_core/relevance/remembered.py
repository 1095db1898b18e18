"""What is known about an encoder, until its weights change."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from kmex_core.relevance.recording import NoRules

T = TypeVar("T")

_known: weakref.WeakKeyDictionary[nn.Module, tuple[object, dict[object, object]]] = weakref.WeakKeyDictionary()
_lock = threading.RLock()


def remembered(encoder: nn.Module, size: Sequence[int], key: object, make: Callable[[], T]) -> T:
    """What `make` returns for an encoder and a size of images, made again after a change of the weights.

    Args:
        encoder: images (N, C, H, W) to embeddings (N, D).
        size: of an image, (C, H, W).
        key: names the result among those of the encoder.
        make: makes it; the result must not refer to the encoder, or both stay in memory.

    Raises:
        NoRules: when `make` has raised it, now or before.
    """
    # PyTorch counts in-place changes of a tensor in its version
    stamp = tuple(size), tuple((value.data_ptr(), value._version) for value in _state(encoder))
    with _lock:
        known = _known.get(encoder)
        if known is None or known[0] != stamp:
            known = _known[encoder] = stamp, {}
        results = known[1]
        if key not in results:
            try:
                results[key] = make()
            except NoRules as reason:
                results[key] = NoRules(*reason.args)  # without the traceback, which would keep the encoder alive
        result = results[key]
    if isinstance(result, NoRules):
        raise NoRules(*result.args)
    return result  # type: ignore[return-value]


def random_images(encoder: nn.Module, size: Sequence[int], batches: int = 1) -> list[Tensor]:
    """Batches of two images (2, C, H, W) of random pixels from 0 to 1, of the encoder's float type and device."""
    like = next((value for value in _state(encoder) if value.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, *size, generator=generator).to(like) for _ in range(batches)]


def _state(encoder: nn.Module) -> list[Tensor]:
    return [*encoder.parameters(), *encoder.buffers()]
