"""Pictures with relevance maps over them, as app/assets/web/relevance draws them."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass

import numpy as np

from kmex_core.data.display import COLOURS, FADE, FRAME, packed_relevance, picture_file, reduced
from kmex_core.data.preprocessing import Box, Preprocessing
from kmex_core.data.seen import seen_picture
from kmex_core.relevance.types import RelevanceMaps

SCALES = {name: asdict(scale) for name, scale in COLOURS.items()}
AROUND = f"rgb{(FRAME,) * 3}"  # the colour of the frame of a map that does not cover its picture


@dataclass(frozen=True)
class Ground:
    """A picture for maps to lie over.

    Attributes:
        picture: as `address` gives it.
        box: where maps are on it, see `seen.SeenPicture`.
        note: what the network does not see of it; "" for nothing.
    """

    picture: str
    box: Box
    note: str


@dataclass(frozen=True)
class Figure:
    """A picture, with a relevance map over it or without.

    Attributes:
        picture: as `address` gives it.
        caption: below it.
        about: what it is, for those who cannot see it.
        map: None for the picture alone.
        warning: what is wrong with the map; "" for nothing.
    """

    picture: str
    caption: str
    about: str
    map: dict[str, object] | None = None
    warning: str = ""


def address(pixels: np.ndarray) -> str:
    """A picture, (H, W) or (H, W, 1 or 3) uint8 of any size, as a data URL at the size at which it is shown."""
    content, kind = picture_file(reduced(pixels))
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def ground(pixels: np.ndarray, preprocessing: Preprocessing) -> Ground:
    """A picture, (H, W) or (H, W, 1 or 3) uint8 of any size, with the place of a network's input on it."""
    seen = seen_picture(pixels, preprocessing)
    return Ground(address(seen.pixels), seen.box, seen.note)


def plain(ground: Ground, caption: str, about: str = "") -> Figure:
    """A picture alone; `about` says more than its caption where that is not enough."""
    return Figure(ground.picture, caption, about or caption)


def mapped(ground: Ground, maps: RelevanceMaps, row: int, caption: str, about: str = "") -> Figure:
    """A picture with map number `row` over it."""
    height, width = maps.values[row].shape
    values = base64.b64encode(packed_relevance(maps.values[row])).decode()
    overlay: dict[str, object] = {"width": width, "height": height, "values": values, "fade": FADE, "box": ground.box}
    note = f". {ground.note}" if ground.note else ""
    return Figure(ground.picture, caption + note, (about or caption) + note, overlay, _warning(maps, row))


def _warning(maps: RelevanceMaps, row: int) -> str:
    if maps.exact[row]:
        return ""
    wrong = f"{maps.error[row]:.0%} of its magnitude" if np.isfinite(maps.error[row]) else "its whole magnitude"
    return f"The pixels of this map do not add up to what they explain: they are off by {wrong}. Read it with care."
