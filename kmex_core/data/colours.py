"""Colours for any number of classes or prototypes, of figures, pages and pictures, and those of pages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FIRST = (0, 110, 180)
STEPS = 18
LUMINANCE = (0.13, 0.295)  # stands out from a dark and from a white page
CHROMA = (25.0, 78.0)  # neither grey nor garish
# what people with deuteranopia and protanopia see (Viénot, Brettel & Mollon 1999), in linear light
_VISIONS = (
    np.eye(3),
    np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
    np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
)
_WEIGHTS = (0.45, 1.0, 1.0)  # most people see more differences: ask for larger ones
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@dataclass(frozen=True)
class Theme:
    """The colours of a page.

    Attributes:
        page: its background.
        ink: of text in pictures.
        accent: of text that stands out.
    """

    page: str
    ink: str
    accent: str


LIGHT = Theme(page="#ffffff", ink="#31333f", accent="#2f6f9f")
# Streamlit's primary colour carries white text on a dark page, and is too dark for text of its own (WCAG 1.4.3)
DARK = Theme(page="#171614", ink="#fafafa", accent="#8cc4f2")


@lru_cache(maxsize=64)
def class_colours(count: int) -> tuple[str, ...]:
    """`count` colours as "#rrggbb", which stand out from a white and from a dark page.

    Each is the colour that is farthest (in CIE Lab) from all before it, in the eyes of people with normal colour
    vision, deuteranopia and protanopia. A hundred cannot all be told apart, so that every page also names the class.
    """
    grid = np.linspace(0, 255, STEPS).round()
    levels = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3)
    levels = np.concatenate([np.array([FIRST]), levels]).astype(int)
    light = np.where(levels <= 10, levels / 255 / 12.92, ((levels / 255 + 0.055) / 1.055) ** 2.4)
    plain = _lab(light)
    luminance, chroma = light @ _XYZ[1], np.hypot(plain[:, 1], plain[:, 2])
    kept = (luminance > LUMINANCE[0]) & (luminance < LUMINANCE[1]) & (chroma > CHROMA[0]) & (chroma < CHROMA[1])
    levels, light = levels[kept], light[kept]
    seen = [_lab(np.clip(light @ vision.T, 0, 1)) for vision in _VISIONS]
    nearest = np.full(len(levels), np.inf)
    chosen = [0]
    while len(chosen) < count:
        for view, weight in zip(seen, _WEIGHTS, strict=True):
            np.minimum(nearest, weight * np.linalg.norm(view - view[chosen[-1]], axis=1), out=nearest)
        chosen.append(int(nearest.argmax()))
    return tuple("#{:02x}{:02x}{:02x}".format(*levels[at]) for at in chosen[:count])


def _lab(light: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear sRGB, (n, 3)."""
    xyz = light @ _XYZ.T / _XYZ.sum(1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
