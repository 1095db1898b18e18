"""The inputs of every computation of a model in the store, bound together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.progress import Progress, silent
from kmex_core.base.store import Store
from kmex_core.data.dataset import ImageDataset
from kmex_core.models import catalogue
from kmex_core.models.catalogue import BlackBox
from kmex_core.models.info import ModelInfo

if TYPE_CHECKING:
    import torch

ResultT = TypeVar("ResultT")
RESULTS = 6  # a model's two embeddings, and what is made from them


class Reader:
    """Reads what other results are made from, and keeps what was used last: both splits of a model, not of all."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, str], Any] = {}
        self._networks: dict[tuple[str, str], BlackBox] = {}

    def result(self, artifact: Artifact[Any, ResultT]) -> ResultT:
        """The result of an artifact, from the store or made now."""
        place = artifact.room, artifact.key
        result: ResultT = self._results.pop(place) if place in self._results else artifact.get()
        self._results[place] = result  # the last used is the last
        for oldest in list(self._results)[:-RESULTS]:
            del self._results[oldest]
        return result

    def network(self, store: Store, name: str, device: str) -> BlackBox:
        """A model with its weights, see `catalogue.load`."""
        if (name, device) not in self._networks:
            self._networks = {(name, device): catalogue.load(store, name, device)}
        return self._networks[name, device]


@dataclass(frozen=True, eq=False)
class Bound:
    """A model in the store with its data.

    Attributes:
        store: where models and results are kept.
        info: the model.
        data: the data set it was trained on.
        device: a torch device (a GPU if there is one when empty).
        progress: called while something is computed; it may raise to stop.
        reader: reads what results are made from; several may share it.
    """

    store: Store
    info: ModelInfo
    data: ImageDataset
    device: str = ""
    progress: Progress = silent
    reader: Reader = field(default_factory=Reader)

    @cached_property
    def weights(self) -> str:
        """The fingerprint of the model's weights."""
        return catalogue.weights_key(self.store, self.info.name)

    @property
    def network(self) -> BlackBox:
        """The model with its weights, on the device."""
        return self.reader.network(self.store, self.info.name, checked_device(self.device))

    def inputs(
        self, split: str, batch: int, rows: np.ndarray | None = None, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
        """Some images of a split as the network takes them, in batches.

        Args:
            split: its name.
            batch: the most images in a batch.
            rows: (N,) the images, in this order; all when None.
            device: where the images go.

        Yields:
            Indices (n,), normalised images (n, inputs, height, width) on the device, and labels (n,).
        """
        from kmex_core.data.network_input import normalise

        rows, start = np.arange(len(self.data.split(split))) if rows is None else rows, 0
        for pixels, labels in self.data.batches(split, batch, rows, self.info.preprocessing):
            yield (
                rows[start : start + len(labels)],
                normalise(pixels.to(device), self.info.preprocessing),
                labels,
            )
            start += len(labels)

    def read(self, artifact: Artifact[Any, ResultT]) -> ResultT:
        """The result of an artifact, kept for others that are made from it."""
        return self.reader.result(artifact)
