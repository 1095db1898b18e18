"""Images to embeddings, in batches, on any device."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Event, Progress, silent
from kmex_core.networks.heads import has_scores
from kmex_core.networks.memory import Portions
from kmex_core.networks.types import NO_CLASS, Embeddings


def extract(
    encoder: nn.Module,
    head: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    total: int = 0,
    device: str | torch.device = "cpu",
    mixed_precision: bool = False,
    progress: Progress = silent,
) -> Embeddings:
    """The embedding of every image, its label, and the class predicted by the head; −1 where that has no scores.

    A batch is split into portions that fit into free memory (`memory.Portions`), and into smaller ones if memory runs
    out anyway. Memory is bounded by one batch and the result. The modes of both are restored afterwards.

    Args:
        encoder: images (n, 3, H, W) to embeddings (n, D).
        head: embeddings (n, D) to class scores (n, C).
        batches: normalised images (n, 3, H, W) and labels (n,).
        total: number of images (0 when unknown); saves a copy of the result.
        device: where to compute.
        mixed_precision: compute in 16-bit floats where torch considers it safe; the result is float32.
        progress: called after every batch; it may raise to stop.

    Raises:
        InputError: when embeddings are not finite (the message gives the number), or there are no images.
        KMExError: when not even one image fits into the device's memory.
    """
    # per module: a user's network may have parts in different modes
    modes = [(part, part.training) for module in (encoder, head) for part in module.modules()]
    rows = _Rows(total)
    try:
        encoder.eval().to(device)
        head.eval().to(device)
        portions: Portions | None = None
        for images, labels in batches:

            def forward(part: slice, images: Tensor = images, labels: Tensor = labels) -> tuple[np.ndarray, ...]:
                return *_forward(encoder, head, images[part], device, mixed_precision), labels[part].numpy()

            # measure the memory per image once, on the first batch
            if portions is None:
                with torch.autocast(torch.device(device).type, enabled=mixed_precision):
                    portions = Portions.fitting(
                        lambda few: _scored(head, encoder(few)), images[:3].to(device), len(images)
                    )
            for z, predicted, own_labels in portions.over(len(images), forward):
                rows.add(z, own_labels, predicted)
                progress(Event("Computing embeddings", rows.count, max(total, rows.count)))
    finally:
        for module, mode in modes:
            module.training = mode
    return rows.result()


def _forward(
    encoder: nn.Module, head: nn.Module, images: Tensor, device: str | torch.device, mixed_precision: bool
) -> tuple[np.ndarray, np.ndarray]:
    place = torch.device(device)
    with torch.no_grad(), torch.autocast(place.type, enabled=mixed_precision):
        z = encoder(images.to(place, non_blocking=True))
        scores = _scored(head, z)
        predicted = scores.argmax(1) if has_scores(head) else torch.full((len(z),), NO_CLASS)
    return z.float().cpu().numpy(), predicted.cpu().numpy()


def _scored(head: nn.Module, z: Tensor) -> Tensor:
    """Class scores, or the embeddings where there are none."""
    scores: Tensor = head(z) if has_scores(head) else z
    return scores


class _Rows:
    """Collects batches into one result, in place when the number of images is known."""

    def __init__(self, total: int) -> None:
        self.count = 0
        self._total = total
        self._whole: Embeddings | None = None
        self._parts: list[Embeddings] = []

    def add(self, z: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> None:
        if self._total:
            if self._whole is None:
                self._whole = Embeddings(
                    np.empty((self._total, z.shape[1]), np.float32),
                    np.empty(self._total, np.int64),
                    np.empty(self._total, np.int64),
                )
            rows = slice(self.count, self.count + len(z))
            self._whole.z[rows], self._whole.labels[rows], self._whole.black_box[rows] = z, labels, predicted
        else:
            self._parts.append(Embeddings(z, labels.astype(np.int64), predicted.astype(np.int64)))
        self.count += len(z)

    def result(self) -> Embeddings:
        if self.count == 0:
            raise InputError("There are no images to embed.")
        if self._whole is None:
            self._whole = Embeddings(
                *(
                    np.concatenate([getattr(part, name) for part in self._parts])
                    for name in ("z", "labels", "black_box")
                )
            )
        elif self.count != self._total:
            raise InputError(f"Expected {self._total:,} images, got {self.count:,}.")
        bad = int((~np.isfinite(self._whole.z).all(1)).sum())
        if bad:
            raise InputError(
                f"The embeddings of {bad:,} of {self.count:,} images are not finite (NaN or infinite). The network's "
                "weights or its input are broken: check the weights, or train again with a lower learning rate."
            )
        return self._whole
