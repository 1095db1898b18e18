"""The embedded demo: scikit-learn's handwritten digits (UCI optical recognition, test part), 1,797 real images."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from kmex_core.base.errors import InputError
from kmex_core.base.progress import Progress
from kmex_core.base.specs import DatasetSpec
from kmex_core.data.dataset import ArraySplit, ImageDataset
from kmex_core.data.source import DataSource

TRAIN = 1297


class Digits(DataSource):
    """scikit-learn's handwritten digits."""

    name = "digits"
    title = "Digits"
    about = "1,797 handwritten digits, 8×8 grey; comes with the product"
    place = 0

    def load(self, spec: DatasetSpec, progress: Progress) -> ImageDataset:
        """The 8×8 digits, 0 to 9, white on black, with 17 grey levels.

        The file keeps writers together, so the last 500 images, the test split, are mostly by writers who are not in
        the training split.
        """
        # read without importing scikit-learn, which would add seconds to the first page
        home = find_spec("sklearn")
        if home is None or not home.submodule_search_locations:
            raise InputError("The digits are part of scikit-learn, which is not installed: pip install scikit-learn.")
        packed = (Path(home.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz").read_bytes()
        table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",")
        pixels = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        labels = table[:, -1].astype(np.int64)
        return ImageDataset(
            name="digits",
            splits={
                "train": ArraySplit(pixels[:TRAIN], labels[:TRAIN]),
                "test": ArraySplit(pixels[TRAIN:], labels[TRAIN:]),
            },
            class_names=tuple("0123456789"),
            channels=1,
            image_size=spec.image_size or 32,
            augmentation="none",
            fingerprint="digits-1",
        )
