"""What a network sees of a picture: where the relevance map of its input is. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kmex_core.data.display import SHOWN, reduced
from kmex_core.data.preprocessing import WHOLE, Box, Preprocessing


@dataclass(frozen=True, eq=False)
class SeenPicture:
    """A picture to lay a relevance map over.

    Attributes:
        pixels: (H, W, 3) uint8 at the size at which it is shown; with the black bars that the network's input has.
        box: left, top, right and bottom of the input as shares (0…1) of its width and height.
        share: of the picture (without bars) that the network sees, above 0 and at most 1.
        bars: whether it has black bars.
    """

    pixels: np.ndarray
    box: Box
    share: float
    bars: bool

    @property
    def note(self) -> str:
        """What differs from the picture, as sentences for a caption; "" for nothing."""
        notes = [f"The network sees {self.share:.0%} of the picture; the rest is pale."] if self.share < 1 else []
        return " ".join([*notes, *(["The black bars belong to its input."] if self.bars else [])])

    def part(self, box: Box) -> Box:
        """A part of the input, as shares of its sides, as shares of the sides of `pixels`."""
        left, top, right, bottom = self.box
        wide, high = right - left, bottom - top
        return left + box[0] * wide, top + box[1] * high, left + box[2] * wide, top + box[3] * high


def seen_picture(pixels: np.ndarray, preprocessing: Preprocessing) -> SeenPicture:
    """A picture with what a network sees of it.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8 of any size.
        preprocessing: the network's.
    """
    height, width = pixels.shape[:2]
    box = preprocessing.placed((height, width)).box
    if box == WHOLE:
        return SeenPicture(reduced(pixels), WHOLE, 1.0, bars=False)
    across, down = (min(1.0, box[end + 2]) - max(0.0, box[end]) for end in (0, 1))
    # the bars count: together with them the picture is not larger than others are
    sides = max(height * _outer(box, 1), width * _outer(box, 0))
    shown = reduced(pixels, max(1, int(max(height, width) * min(1.0, SHOWN / sides))))
    h, w = shown.shape[:2]
    left, top, right, bottom = (
        math.ceil(max(0.0, beyond) * side - 1e-9)
        for beyond, side in ((-box[0], w), (-box[1], h), (box[2] - 1, w), (box[3] - 1, h))
    )
    framed = np.pad(shown, ((top, bottom), (left, right), (0, 0)))
    h_all, w_all = framed.shape[:2]
    # rounding may put an end outside by 1e-16
    x0, y0, x1, y1 = (
        min(1.0, max(0.0, end))
        for end in (
            (left + box[0] * w) / w_all,
            (top + box[1] * h) / h_all,
            (left + box[2] * w) / w_all,
            (top + box[3] * h) / h_all,
        )
    )
    return SeenPicture(framed, (x0, y0, x1, y1), across * down, bars=framed.shape != shown.shape)


def _outer(box: Box, axis: int) -> float:
    """How long a side of the picture is with its bars, in shares of the side."""
    return max(1.0, box[axis + 2]) - min(0.0, box[axis])
