"""Images to embeddings, in batches, on any device."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base import cores
from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.networks import faster
from kmex_core.networks.arithmetic import EXACT, FLOAT32, MIXED, Arithmetic
from kmex_core.networks.heads import Head, NoHead, has_scores
from kmex_core.networks.memory import LIVE, Portions, bytes_per_row
from kmex_core.networks.types import NO_CLASS, Embeddings

MOST_PASSES = 8  # at once, on a CPU
CACHE = 4 * 2**20  # bytes of a layer's output that stay near a core
LEAST = 16  # images in a portion, however large they are

Batch = tuple[Tensor, Tensor]


def extract(
    encoder: nn.Module,
    head: nn.Module,
    batches: Iterable[Batch],
    total: int = 0,
    device: str | torch.device = "cpu",
    arithmetic: Arithmetic = EXACT,
    progress: Progress = silent,
) -> Embeddings:
    """The embedding of every image, its label, and the class predicted by the head; −1 where that has no scores.

    See `stream`; all of it in memory.

    Args:
        encoder, head, batches, device, arithmetic: see there.
        total: number of images (0 when unknown); saves a copy of the result.
        progress: called after every batch; it may raise to stop.

    Raises:
        InputError: see `stream`; or when `total` is wrong.
        KMExError: see `stream`.
    """
    rows = _Rows(total)
    with contextlib.closing(stream(encoder, head, batches, device, arithmetic)) as parts:
        for part in parts:
            rows.add(part)
            progress(Event("Computing embeddings", rows.count, max(total, rows.count)))
    return rows.result()


def stream(
    encoder: nn.Module,
    head: nn.Module,
    batches: Iterable[Batch],
    device: str | torch.device = "cpu",
    arithmetic: Arithmetic = EXACT,
    to_input: Callable[[Tensor], Tensor] | None = None,
) -> Generator[Embeddings, None, None]:
    """The embeddings of batches, in their order, while the next ones are read and computed.

    A batch is split into portions that fit into free memory (`memory.Portions`), and into smaller ones if memory runs
    out anyway. On a CPU, the network is prepared (`faster.prepared`), if it can be, and computes several batches at
    once, each on one core; otherwise it runs in this thread, with all of them. The modes of encoder and head are
    restored afterwards.

    Args:
        encoder: images (n, 3, H, W) to embeddings (n, D).
        head: embeddings (n, D) to class scores (n, C).
        batches: images (n, …) and labels (n,); iterated in this thread.
        device: where to compute.
        arithmetic: how.
        to_input: from images of `batches` to the encoder's; they are its when None.

    Raises:
        InputError: when embeddings are not finite, there are no images, or the network cannot be compiled.
        KMExError: when not even one image fits into the device's memory.
    """
    # per module: a user's network may have parts in different modes
    modes = [(part, part.training) for module in (encoder, head) for part in module.modules()]
    place, given = torch.device(device), iter(batches)
    try:
        encoder.eval().to(place)
        head.eval().to(place)
        first = next(given, None)
        if first is None:
            raise InputError("There are no images to embed.")
        network = _Network(encoder, head, place, arithmetic, to_input or (lambda images: images), first[0])
        seen = 0
        for part in network.over(itertools.chain([first], given)):
            seen += len(part)
            _check_finite(part.z, seen)
            yield part
    finally:
        for module, mode in modes:
            module.training = mode


class _Network:
    """Encoder and head on a device, in portions of a size that was measured on the first images."""

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        place: torch.device,
        arithmetic: Arithmetic,
        to_input: Callable[[Tensor], Tensor],
        first: Tensor,
    ) -> None:
        self._encoder, self._head, self._place, self._to_input = encoder, head, place, to_input
        self._arithmetic, self._passes = arithmetic, 1
        few = to_input(first[:3].to(place))
        # however few images there are: the same image has the same embedding
        if place.type == "cpu" and arithmetic == EXACT and isinstance(head, Head | NoHead):
            self._encoder = faster.prepared(encoder, few)
        self._parallel = isinstance(self._encoder, faster.Prepared)  # others may not stand two passes at once
        if self._parallel:
            self._passes = min(MOST_PASSES, torch.get_num_threads())
        with self._computing():
            self._portions = Portions.fitting(self._scored, few, len(first), passes=self._passes)
            if self._parallel:
                self._portions.rows = min(self._portions.rows, self._near_a_core(few))
            if arithmetic.compiled:
                self._encoder = faster.compiled(encoder, few)

    def _near_a_core(self, few: Tensor) -> int:
        """How many images one core computes fastest at once: so few that a layer finds its input in the cache, but
        as many as make reading the weights worth it. The same for the same network and size, so that rounding is."""
        layer = bytes_per_row(self._encoder, few[:1].expand(3, *few.shape[1:])) // LIVE
        weights = sum(value.nbytes for value in self._encoder.parameters())
        return max(LEAST, max(CACHE, weights // 2) // layer)

    def over(self, batches: Iterable[Batch]) -> Iterator[Embeddings]:
        """The embeddings of batches, in their order."""
        moved = ((self._moved(images), labels) for images, labels in batches)
        if self._parallel:
            with cores.workers(self._passes) as pool:
                yield from cores.in_order(pool, self._embedded, moved, self._passes + 1)
        elif self._place.type == "cpu":
            yield from map(self._embedded, moved)
        else:
            # a GPU computes a batch while the one before is taken from it and the next one is sent
            waiting: list[tuple[list[tuple[Tensor, Tensor]], Tensor]] = []
            for images, labels in moved:
                waiting.append((self._computed(images), labels))
                if len(waiting) > 1:
                    yield self._taken(*waiting.pop(0))
            for ended in waiting:
                yield self._taken(*ended)

    def _moved(self, images: Tensor) -> Tensor:
        if self._place.type == "cuda" and images.device.type == "cpu":
            return images.pin_memory().to(self._place, non_blocking=True)
        return images.to(self._place)

    def _embedded(self, batch: Batch) -> Embeddings:
        return self._taken(self._computed(batch[0]), batch[1])

    def _computed(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Embeddings and predictions of a batch, portion by portion, on the device."""
        portions = dataclasses.replace(self._portions)  # several threads compute
        with self._computing():
            computed = list(portions.over(len(images), lambda part: self._portion(images[part])))
        self._portions.rows = min(self._portions.rows, portions.rows)
        return computed

    def _portion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        z = self._encoder(self._to_input(images))
        if not has_scores(self._head):
            return z, torch.full((len(z),), NO_CLASS)
        return z, self._head(z).argmax(1)

    def _scored(self, images: Tensor) -> Tensor:
        z: Tensor = self._encoder(images)
        return self._head(z) if has_scores(self._head) else z

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Without gradients, and in the precision asked for."""
        precision = self._arithmetic.precision
        dtype = None if precision in (FLOAT32, MIXED) else getattr(torch, precision)
        with torch.no_grad(), torch.autocast(self._place.type, dtype, enabled=precision != FLOAT32):
            yield

    def _taken(self, computed: list[tuple[Tensor, Tensor]], labels: Tensor) -> Embeddings:
        """The embeddings of a batch in this process's memory."""
        z = torch.cat([part.float() for part, _ in computed]).cpu().numpy()
        predicted = torch.cat([classes for _, classes in computed]).cpu().numpy()
        return Embeddings(z, labels.numpy().astype(np.int64), predicted.astype(np.int64))


def _check_finite(z: np.ndarray, seen: int) -> None:
    """Stop at the first embeddings that are not, since hours may follow."""
    bad = int((~np.isfinite(z).all(1)).sum())
    if bad:
        raise InputError(
            f"The embeddings of {bad:,} of the first {seen:,} images are not finite (NaN or infinite). The network's "
            "weights or its input are broken: check the weights, or train again with a lower learning rate."
        )


class _Rows:
    """Collects batches into one result, in place when the number of images is known."""

    def __init__(self, total: int) -> None:
        self.count = 0
        self._total = total
        self._whole: Embeddings | None = None
        self._parts: list[Embeddings] = []

    def add(self, part: Embeddings) -> None:
        if self._total:
            if self._whole is None:
                self._whole = Embeddings(
                    np.empty((self._total, part.z.shape[1]), np.float32),
                    np.empty(self._total, np.int64),
                    np.empty(self._total, np.int64),
                )
            rows = slice(self.count, self.count + len(part))
            self._whole.z[rows], self._whole.labels[rows] = part.z, part.labels
            self._whole.black_box[rows] = part.black_box
        else:
            self._parts.append(part)
        self.count += len(part)

    def result(self) -> Embeddings:
        if self._whole is None:
            return Embeddings(
                *(
                    np.concatenate([getattr(part, name) for part in self._parts])
                    for name in ("z", "labels", "black_box")
                )
            )
        if self.count != self._total:
            raise InputError(f"Expected {self._total:,} images, got {self.count:,}.")
        return self._whole
