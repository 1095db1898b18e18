"""Circles, squares and triangles of random sizes at random places, drawn from a seed."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.dataset import ArraySplit, ImageDataset
from kmex_core.data.source import DataSource

CLASSES = ("circle", "square", "triangle")
CORNERS = {"square": 4, "triangle": 3}
SIDE, TRAIN, TEST = 32, 600, 150


class Shapes(DataSource):
    """Three shapes."""

    name = "shapes"
    title = "Shapes"
    about = "750 circles, squares and triangles, 32×32 grey; drawn here"
    place = 10

    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """White shapes on black, upright."""
        return ImageDataset(
            name=self.name,
            splits={"train": _split(TRAIN, seed=0), "test": _split(TEST, seed=1)},
            class_names=CLASSES,
            channels=1,
            image_size=spec.image_size or SIDE,
            augmentation="none",
            fingerprint="shapes-1",  # change it whenever the images change
        )


def _split(count: int, seed: int) -> ArraySplit:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    return ArraySplit(np.stack([_drawn(CLASSES[label], random) for label in labels]), labels)


def _drawn(shape: str, random: np.random.Generator) -> np.ndarray:
    """(32, 32) uint8."""
    image = Image.new("L", (SIDE, SIDE))
    radius = int(random.integers(5, 11))
    x, y = (int(place) for place in random.integers(radius, SIDE - radius, 2))
    if shape == "circle":
        ImageDraw.Draw(image).circle((x, y), radius, fill=255)
    else:
        ImageDraw.Draw(image).regular_polygon((x, y, radius), CORNERS[shape], fill=255)
    return np.asarray(image)
