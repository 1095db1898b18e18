"""Thumbnails of images, each stored once, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from app.report.markup import Markup, tag
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.display import png, reduced
from kmex_core.prototypes.types import NO_IMAGE

SIDE = 96  # of a thumbnail in pixels, at most
SMALL = 32  # up to this side, pictures are lossless and shown with sharp pixels
QUALITY = 75
BUDGET = 6 * 2**20  # characters of all thumbnails of a report, which is to stay a file that can be sent


class Thumbnails:
    """Thumbnails that a report has asked for, by the name of their file: "train/3.png".

    Args:
        data: whose images they are of.

    Attributes:
        files: their data addresses, by name.
        size: how many characters these have.
    """

    def __init__(self, data: ImageDataset) -> None:
        self.files: dict[str, str] = {}
        self._data, self.size = data, 0

    def add(self, split: str, images: Iterable[int]) -> bool:
        """Take some images of a split, all of them or none if they are too many for the budget; whether they were
        taken."""
        new = {
            name: _data_address(self._data.split(split).image(image))
            for image in sorted({*images} - {NO_IMAGE})
            if (name := file_name(split, image)) not in self.files
        }
        size = sum(map(len, new.values()))
        if self.size + size > BUDGET:
            return False
        self.files |= new
        self.size += size
        return True

    def fill(self, split: str, images: Iterable[int]) -> bool:
        """Take one image after another, until the first that is too much; whether all were taken."""
        return all(self.add(split, [image]) for image in images)


def file_name(split: str, image: int) -> str:
    """What names the thumbnail of an image."""
    return f"{split}/{image}.png"


def _data_address(pixels: np.ndarray) -> str:
    if max(pixels.shape[:2]) <= SMALL:
        kind, content = "png", png(pixels)
    else:
        buffer = io.BytesIO()
        Image.fromarray(reduced(pixels, SIDE)).save(buffer, "WEBP", quality=QUALITY)
        kind, content = "webp", buffer.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def picture(image: int, about: str) -> Markup:
    """A place for the thumbnail of a training image, which the page's script fills in."""
    return tag("img", data_image=file_name("train", image), alt=about, width=72, height=72)
