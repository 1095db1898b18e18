"""Relevance maps over images, drawn in the browser: their look changes without the server."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import streamlit as st

from app.components.shared.web import component
from app.links import bound_to, number_in, one_of, refuse
from kmex_core.data.display import COLOURS, FADE, FRAME, packed_relevance, picture_file, reduced
from kmex_core.data.preprocessing import Box, Preprocessing
from kmex_core.data.seen import seen_picture
from kmex_core.models.info import ModelInfo
from kmex_core.relevance.catalogue import METHODS, TARGETS, MapKind
from kmex_core.relevance.types import RelevanceMaps

_relevance = component("relevance")
_SCALES = {name: asdict(scale) for name, scale in COLOURS.items()}
_FRAME = f"rgb{(FRAME,) * 3}"


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


def show_look(key: str) -> None:
    """Show the controls of all maps, opacity and colours, and what the colours mean.

    The browser reads them from the address; what cannot be is refused here.
    """
    for name, usable, instead in (
        ("colours", one_of(COLOURS), f"Choose one of {', '.join(COLOURS)}."),
        ("opacity", number_in(0, 100), "Use a percentage, 0 to 100."),
    ):
        if (requested := st.query_params.get(name)) and not usable(requested):
            refuse(name, requested, instead)
    _relevance(key=key, data={"scales": _SCALES})


def choose_maps(info: ModelInfo) -> MapKind:
    """Show the choice of what a model's relevance maps explain, and how: an encoder has no score to explain, and
    without gradients there are fewer methods."""
    described = {name: target for name, target in TARGETS.items() if name != "score" or info.predicts}
    targets = {name: target.title for name, target in described.items()}
    usable = {name: method for name, method in METHODS.items() if info.differentiable or not method.gradients}
    methods = {name: method.title for name, method in usable.items()}
    target = st.selectbox(
        "Explained number",
        list(targets),
        format_func=targets.__getitem__,
        key="target",
        width=260,
        bind=bound_to("target", targets, info.default_maps.target),
        help="What the relevance of the pixels adds up to.  \n"
        + "  \n".join(f"{target.title}: {target.about}" for target in described.values()),
    )
    method = st.selectbox(
        "Relevance method",
        list(methods),
        format_func=methods.__getitem__,
        key="method",
        width=340,
        bind=bound_to("method", methods, info.default_maps.method),
        help="  \n".join(f"{method.title}: {method.about}" for method in usable.values()),
    )
    return MapKind(target, method)


def show_figures(key: str, figures: Sequence[Figure], columns: int) -> None:
    """Show pictures and maps beside each other.

    Args:
        key: what names these figures on their page.
        figures: what to show.
        columns: in how many columns (two at most on a phone).
    """
    _relevance(
        key=key,
        data={
            "scales": _SCALES,
            "columns": columns,
            "frame": _FRAME,
            "figures": [asdict(figure) for figure in figures],
        },
    )
