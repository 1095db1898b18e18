"""Small data sets in the layouts that people have, and what was read of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kmex_core.base.specs import DatasetSpec
from kmex_core.data import registry
from kmex_core.data.dataset import ImageDataset
from tests.helpers.pictures import encoded


def pixels(number: int, size: int = 8, channels: int = 3) -> np.ndarray:
    """A picture that its top left pixel tells from 255 others; all of them differ."""
    shape = (size, size) if channels == 1 else (size, size, channels)
    image = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    image[0, 0] = number % 256
    return image


def picture(number: int, size: int = 8, channels: int = 3) -> bytes:
    return encoded(pixels(number, size, channels))


def write(root: Path, names: Iterable[str]) -> Path:
    """Pictures with these paths; the top left pixel of each is its position in the list."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return root


def load(path: Path, **options: Any) -> ImageDataset:
    return registry.load(DatasetSpec(str(path), **options))


def classes(data: ImageDataset) -> dict[int, str]:
    """The class of every picture, by its top left pixel."""
    return {
        int(np.asarray(split.image(row)).reshape(-1)[0]): data.class_names[split.labels[row]]
        for split in data.splits.values()
        for row in range(len(split))
    }


def numbers(data: ImageDataset, split: str) -> list[int]:
    """The top left pixels of a split's pictures, ascending."""
    of = data.split(split)
    return sorted(int(np.asarray(of.image(row)).reshape(-1)[0]) for row in range(len(of)))
