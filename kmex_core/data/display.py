"""Pictures and relevance maps for display."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from kmex_core.data.network_input import to_channels

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Colours:
    """A colour scale for relevance that is safe for colour-blind readers.

    Attributes:
        anchors: red, green and blue (0…255), evenly spaced from the most negative to the most positive relevance.
        names: of the two ends and the middle.
        fades: whether pixels without relevance show the picture instead of a colour.
    """

    anchors: tuple[tuple[int, int, int], ...]
    names: tuple[str, str, str]
    fades: bool


COLOURS: dict[str, Colours] = {
    "Red and blue": Colours(((33, 102, 242), (120, 170, 255), (247, 247, 247), (255, 130, 90), (235, 20, 30)),
                            ("blue", "uncoloured", "red"), True),
    "Viridis": Colours(((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)),
                       ("purple", "teal", "yellow"), False),
    "Grey": Colours(((0, 0, 0), (64, 64, 64), (128, 128, 128), (191, 191, 191), (255, 255, 255)),
                    ("black", "mid-grey", "white"), False),
}  # fmt: skip

FADE = 0.7

LOSSLESS = 128

SHOWN = 512  # the largest displayed side in pixels; more would cost time without showing more


def scaled_relevance(relevance: np.ndarray) -> np.ndarray:
    """(H, W) relevance as −1…1: divided by the 99.5th percentile of its magnitude, so that 0 stays 0."""
    scale = float(np.quantile(np.abs(relevance), 0.995))
    largest = float(np.abs(relevance).max())
    return np.clip(relevance / (scale or largest or 1.0), -1, 1)


def packed_relevance(relevance: np.ndarray) -> bytes:
    """(h, w) relevance as a signed byte per pixel, row by row, for drawing in the browser.

    A byte is 127 times the sign of `scaled_relevance` times its magnitude to the power `FADE`, which is its opacity:
    faint relevance gets as many steps as strong relevance.
    """
    scaled = scaled_relevance(relevance)
    return np.round(127 * np.sign(scaled) * np.abs(scaled) ** FADE).astype(np.int8).tobytes()


def overlay(pixels: np.ndarray, relevance: np.ndarray, opacity: float, colours: str, side: int = 256) -> np.ndarray:
    """A relevance map over its picture.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8, shown in grey.
        relevance: (h, w), stretched to the picture.
        opacity: 0 (picture only) to 1 (relevance map only).
        colours: a name in `COLOURS`.
        side: the longer side of the result in pixels, at least (and at most `SHOWN`).

    Returns:
        (H', W', 3) uint8.
    """
    base = displayed(pixels, side)
    height, width = base.shape[:2]
    grey = np.asarray(Image.fromarray(base).convert("L"), dtype=np.float32)[..., None]
    values = Image.fromarray(scaled_relevance(relevance).astype(np.float32))
    stretched = np.asarray(values.resize((width, height), Image.Resampling.BILINEAR))
    scale = COLOURS[colours]
    anchors = np.array(scale.anchors, dtype=np.float32)
    place = np.linspace(-1, 1, len(anchors))
    colour = np.stack([np.interp(stretched, place, anchors[:, channel]) for channel in range(3)], -1)
    weight = opacity * (np.abs(stretched)[..., None] ** FADE if scale.fades else 1.0)
    return np.clip(np.round((1 - weight) * grey + weight * colour), 0, 255).astype(np.uint8)


def reduced(pixels: np.ndarray, most: int = SHOWN) -> np.ndarray:
    """A picture as (H, W, 3) uint8 whose longer side is at most `most`; small ones keep their pixels.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8.
        most: in pixels.
    """
    if max(pixels.shape[:2]) > most:
        image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
        image.thumbnail((most, most), Image.Resampling.LANCZOS)
        pixels = np.asarray(image)
    return np.ascontiguousarray(to_channels(pixels, 3))


def displayed(pixels: np.ndarray, side: int, most: int = SHOWN) -> np.ndarray:
    """A picture for display: `reduced`, or enlarged by an integer factor until its longer side is at least `side`."""
    shown = reduced(pixels, most)
    factor = -(-side // max(shown.shape[:2]))
    return shown.repeat(factor, 0).repeat(factor, 1) if factor > 1 else shown


BOX = (230, 30, 30)


def boxed(pixels: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    """A picture enlarged to `side` pixels with a red rectangle around a part, however small, and a white one around it.

    Args:
        pixels: (H, W) or (H, W, 1 or 3) uint8.
        box: left, top, right, bottom as shares of its width and height, 0…1.
        side: the longer side of the result in pixels, at least.
    """
    image = Image.fromarray(displayed(pixels, side)).convert("RGB")
    line = max(2, max(image.size) // 64)
    left, top, right, bottom = box
    pen = ImageDraw.Draw(image)
    for edge, colour in ((line + 1, "white"), (line, BOX)):
        corners = (
            max(0, left * image.width - edge),
            max(0, top * image.height - edge),
            min(image.width, right * image.width + edge) - 1,
            min(image.height, bottom * image.height + edge) - 1,
        )
        pen.rectangle(corners, outline=colour, width=edge)
    return np.asarray(image)


def picture_file(pixels: np.ndarray) -> tuple[bytes, str]:
    """A picture for display, (H, W, 3) uint8, as a file and its media type: lossless if small, else WebP."""
    if max(pixels.shape[:2]) <= LOSSLESS:
        return png(pixels), "image/png"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=90)
    return buffer.getvalue(), "image/webp"


def png(pixels: np.ndarray) -> bytes:
    """(H, W), (H, W, 1) or (H, W, 3) uint8 as a PNG file."""
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, "PNG")
    return buffer.getvalue()


def printable(text: str) -> str:
    """`text` as Pillow's own font can draw it: with "?" for what is not in Latin-1."""
    return text.encode("latin-1", "replace").decode("latin-1")
