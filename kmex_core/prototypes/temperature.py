"""The temperature of a posterior, and the halves of the test split it is cross-fitted on. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Temperature:
    """T of a posterior, in the unit of its scores (squared distances, or class scores).

    Attributes:
        value: fitted on all held-out images; for any image that is none of them.
        halves: fitted on each half of the test split, to judge the other (`halves_of`); equal to `value` where there
            is a validation split.
        images: number of held-out images it was fitted on.
        validation: whether these are the validation split, else the test split.
    """

    value: float
    halves: tuple[float, float]
    images: int
    validation: bool

    def of_test(self, labels: np.ndarray) -> np.ndarray:
        """(M,) the temperature for each test image, fitted without it."""
        return np.asarray(self.halves)[1 - halves_of(labels)]


def temperature_of(description: Mapping[str, Any] | None) -> Temperature | None:
    """The temperature that `dataclasses.asdict` described; None for None."""
    if description is None:
        return None
    first, second = description["halves"]
    return Temperature(**{**description, "halves": (first, second)})


def halves_of(labels: np.ndarray) -> np.ndarray:
    """(M,) int64, 0 or 1: the half that each image is in; every class is split in two, seeded."""
    halves = np.zeros(len(labels), dtype=np.int64)
    random = np.random.default_rng(0)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        halves[random.permutation(rows)[: (len(rows) + int(label) % 2) // 2]] = 1
    return halves
