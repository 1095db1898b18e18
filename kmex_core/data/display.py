"""Pictures and relevance maps for display."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from kmex_core.data.network_input import to_channels
from kmex_core.data.preprocessing import WHOLE, Box


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
PALE, FRAME, LINE = 0.75, 90, 2  # of pixels that no map covers: how much white they have, and the frame, grey and width

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


def overlay(
    pixels: np.ndarray, relevance: np.ndarray, opacity: float, colours: str, side: int = 256, box: Box = WHOLE
) -> np.ndarray:
    """A relevance map over its picture.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8, shown in grey.
        relevance: (h, w), stretched to the box.
        opacity: 0 (picture only) to 1 (relevance map only).
        colours: a name in `COLOURS`.
        side: the longer side of the result in pixels, at least (and at most `SHOWN`).
        box: left, top, right and bottom of the map, as shares (0…1) of the picture's width and height, see
            `seen.seen_picture`; what is outside is pale, behind a frame.

    Returns:
        (H', W', 3) uint8.
    """
    base = displayed(pixels, side)
    grey = np.asarray(Image.fromarray(base).convert("L"), dtype=np.float32)[..., None]
    left, top, right, bottom = box_pixels(box, base.shape[1], base.shape[0])
    values = Image.fromarray(scaled_relevance(relevance).astype(np.float32))
    stretched = np.asarray(values.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    scale = COLOURS[colours]
    anchors = np.array(scale.anchors, dtype=np.float32)
    place = np.linspace(-1, 1, len(anchors))
    colour = np.stack([np.interp(stretched, place, anchors[:, channel]) for channel in range(3)], -1)
    weight = opacity * (np.abs(stretched)[..., None] ** FADE if scale.fades else 1.0)
    shown = np.repeat((1 - PALE) * grey + PALE * 255, 3, axis=-1)
    shown[max(0, top - LINE) : bottom + LINE, max(0, left - LINE) : right + LINE] = FRAME
    shown[top:bottom, left:right] = (1 - weight) * grey[top:bottom, left:right] + weight * colour
    return np.clip(np.round(shown), 0, 255).astype(np.uint8)


def box_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box in a picture, in whole pixels and at least one of them wide and high."""
    left, top = (min(size - 1, int(share * size + 0.5)) for share, size in zip(box[:2], (width, height), strict=True))
    right, bottom = (int(share * size + 0.5) for share, size in zip(box[2:], (width, height), strict=True))
    return left, top, max(left + 1, right), max(top + 1, bottom)


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
