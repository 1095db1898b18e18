"""Mean and standard deviation of a training split's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core.base.artifact import Artifact
from kmex_core.base.files import Arrays
from kmex_core.base.progress import Progress, silent
from kmex_core.base.specs import stable_key
from kmex_core.base.store import Store
from kmex_core.data.dataset import ImageDataset

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class StatisticsSpec:
    """The data set's files, and the side at which they are read."""

    data: str
    image_size: int

    @property
    def key(self) -> str:
        """Their name in the store."""
        return stable_key([self.data, self.image_size])


class PixelStatistics(Artifact[StatisticsSpec, Statistics]):
    """Mean and standard deviation per channel, for pixels 0…1."""

    room = "statistics"

    def __init__(self, store: Store, data: ImageDataset, progress: Progress = silent) -> None:
        super().__init__(store, progress)
        self._data = data

    @cached_property
    def spec(self) -> StatisticsSpec:
        return StatisticsSpec(self._data.fingerprint, self._data.image_size)

    def make(self) -> Statistics:
        return self._data.statistics(self.progress)

    def pack(self, result: Statistics) -> tuple[Arrays, dict[str, Any]]:
        return dict(zip(("mean", "std"), map(np.array, result), strict=True)), {"dataset": self._data.name}

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Statistics:
        return tuple(arrays["mean"].tolist()), tuple(arrays["std"].tolist())
