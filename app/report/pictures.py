"""Thumbnails of training images, each stored once, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from app.report.markup import Markup, tag
from kmex_core.data.dataset import Split
from kmex_core.data.display import png, reduced

SIDE = 96  # of a thumbnail in pixels, at most
SMALL = 32  # up to this side, pictures are lossless and shown with sharp pixels
QUALITY = 75
BUDGET = 10 * 2**20  # characters of all thumbnails of a report, which leaves room for everything else


class Thumbnails:
    """Thumbnails that a report has asked for, by the number of their training image.

    Args:
        train: the training split.
    """

    def __init__(self, train: Split) -> None:
        self.files: dict[int, str] = {}
        self.left_out = 0
        self._train, self._size = train, 0

    def add(self, images: Iterable[int]) -> bool:
        """Take some images, all of them or none if they are too many for the budget; whether they were taken."""
        new = {image: _data_address(self._train.image(image)) for image in sorted({*images} - {-1, *self.files})}
        size = sum(map(len, new.values()))
        if self._size + size > BUDGET:
            return False
        self.files |= new
        self._size += size
        return True


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
    return tag("img", data_image=image, alt=about, width=72, height=72)
