"""Pictures made for tests, as pixels and as files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def striped(label: int, count: int, size: int, channels: int, seed: int = 0) -> np.ndarray:
    """`count` images of a class that is easy to tell: a bright stripe at a place of its own, and noise."""
    random = np.random.default_rng([seed, label])
    shape = (count, size, size) if channels == 1 else (count, size, size, 3)
    images = random.integers(0, 60, shape, dtype=np.uint8)
    at = 2 + 4 * label
    images[:, at : at + 3] += 150
    return images


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A valid PNG header that announces more pixels than fit in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
