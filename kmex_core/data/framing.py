"""Framing: a picture of any shape becomes the network's square by cropping, padding, squeezing, turning, inverting."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from kmex_core.base.errors import InputError

CROPS = {"whole": "As in the data set", "pad": "Whole picture, padded", "region": "Square region"}
SMALLEST = 0.05


@dataclass(frozen=True)
class Framing:
    """Changes to a picture, in this order: turn, crop, invert.

    Attributes:
        crop: a key of `CROPS`. "whole" keeps the picture as it is for the network's own preprocessing, as for data
            sets. "pad" pads to a square with the median colour of the border; "region" cuts out a square.
        turns: quarter turns clockwise, 0…3.
        inverted: whether light becomes dark.
        size: side of the region as a share (`SMALLEST`…1) of the shorter side.
        across, down: the position of the region, 0 (left, top) … 1 (right, bottom).
    """

    crop: str = "whole"
    turns: int = 0
    inverted: bool = False
    size: float = 1.0
    across: float = 0.5
    down: float = 0.5

    @property
    def text(self) -> str:
        """What names it in an address, "" for none: "turn90_region-350-0-1000_invert", a region's shares in
        thousandths."""
        crop = {"whole": "", "pad": "pad", "region": "region-" + "-".join(map(str, self._thousandths))}[self.crop]
        turn = f"turn{self.turns % 4 * 90}" if self.turns % 4 else ""
        return "_".join(part for part in (turn, crop, "invert" if self.inverted else "") if part)

    @property
    def _thousandths(self) -> list[int]:
        return [round(1000 * share) for share in (self.size, self.across, self.down)]


_TEXT = re.compile(
    r"(?:turn(?P<turn>90|180|270)(?:_|$))?"
    r"(?:(?:(?P<pad>pad)|region-(?P<size>\d{1,4})-(?P<across>\d{1,4})-(?P<down>\d{1,4}))(?:_|$))?"
    r"(?P<invert>invert)?",
    re.ASCII,
)


def read_framing(text: str) -> Framing:
    """The framing that `Framing.text` named.

    Raises:
        InputError: for any other text.
    """
    match = _TEXT.fullmatch(text)
    if match:
        crop = "pad" if match["pad"] else "region" if match["size"] else "whole"
        shares = [int(match[name]) / 1000 for name in ("size", "across", "down")] if crop == "region" else []
        framing = Framing(crop, int(match["turn"] or 0) // 90, bool(match["invert"]), *shares)
        # the way it is written, and no other: "pad_" and "region-0900-0-0" are refused
        if _in_range(framing) and framing.text == text:
            return framing
    raise InputError(
        f"Invalid framing '{text[:60]}'. Expected parts joined by '_': turn90, turn180 or turn270; then pad, or "
        f"region-SIZE-ACROSS-DOWN in thousandths (SIZE from {round(1000 * SMALLEST)} to 1000, the others from 0 to "
        "1000); then invert. For example: turn90_region-500-0-1000_invert."
    )


def _in_range(framing: Framing) -> bool:
    shares = (framing.across, framing.down)
    return framing.crop in CROPS and SMALLEST <= framing.size <= 1 and all(0 <= share <= 1 for share in shares)


def framed(pixels: np.ndarray, framing: Framing) -> np.ndarray:
    """A picture framed by `framing`.

    Args:
        pixels: (H, W) or (H, W, channels) uint8.
        framing: the changes.

    Returns:
        The same kind of array; a square unless the crop is "whole".

    Raises:
        ValueError: for an unknown crop, or a number out of its range.
    """
    if not _in_range(framing):
        raise ValueError(f"Expected one of {', '.join(CROPS)} and shares from 0 to 1, got {framing}.")
    turned = np.rot90(pixels, -framing.turns)
    if framing.crop == "pad":
        turned = _padded(turned)
    elif framing.crop == "region":
        turned = _region(turned, framing)
    return np.ascontiguousarray(255 - turned if framing.inverted else turned)


def _region(pixels: np.ndarray, framing: Framing) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = max(1, round(framing.size * min(height, width)))
    top, left = round(framing.down * (height - side)), round(framing.across * (width - side))
    return pixels[top : top + side, left : left + side]


def _padded(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = max(height, width)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    page = np.empty((side, side, *pixels.shape[2:]), np.uint8)
    page[...] = np.median(border, axis=0).astype(np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    page[top : top + height, left : left + width] = pixels
    return page


def distortion(pixels: np.ndarray) -> float:
    """The ratio of the longer to the shorter side, at least 1: the stretch of squeezing into a square."""
    height, width = pixels.shape[:2]
    return max(height, width) / min(height, width)
