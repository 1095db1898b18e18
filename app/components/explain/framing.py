"""What the network sees of an image: the controls that crop, rotate and invert it, and a preview."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app.components.shared.picture import show_picture
from app.links import pick, picked, refuse
from kmex_core.base.errors import InputError
from kmex_core.data.framing import CROPS, SMALLEST, Framing, distortion, framed, read_framing
from kmex_core.data.network_input import to_pixels
from kmex_core.models.info import ModelInfo

PREVIEW = 180
SQUARE = 1.02  # a picture that is nearer to a square is not worth a word


def choose_framing(info: ModelInfo, pixels: np.ndarray, name: str) -> Framing:
    """Show the controls with the square that the network sees of a picture.

    Args:
        info: the model.
        pixels: the picture, (H, W) or (H, W, 3) uint8.
        name: what names the picture, so that another one starts anew.
    """
    _take_address(name)
    preview, controls = st.columns([1, 3], vertical_alignment="center")
    with controls:
        framing = _controls(info, pixels, name)
        pick("framing", framing.text)
        st.session_state[_told(name)] = framing.text
        st.caption(_words(info, pixels, framing))
    height, width = info.preprocessing.size
    seen = to_pixels([framed(pixels, framing)], info.preprocessing)[0].permute(1, 2, 0).numpy()
    with preview:
        show_picture(
            seen,
            f"The {width} by {height} pixels that the network sees of your image",
            caption="What the network sees",
            side=PREVIEW,
            width=PREVIEW,
        )
    return framing


def _told(name: str) -> str:
    return f"framing-{name}"


def _take_address(name: str) -> None:
    """Set the controls to the framing that the address names, unless the address has it from them."""
    text = picked("framing")
    if f"crop-{name}" in st.session_state and text == st.session_state.get(_told(name)):
        return
    try:
        framing = read_framing(text)
    except InputError as error:
        refuse("framing", text, str(error))
        framing = Framing()
    values = {
        "crop": framing.crop,
        "turns": framing.turns,
        "invert": framing.inverted,
        **{key: round(100 * getattr(framing, key), 1) for key in ("size", "across", "down")},
    }
    st.session_state.update({f"{key}-{name}": value for key, value in values.items()})


def _controls(info: ModelInfo, pixels: np.ndarray, name: str) -> Framing:
    turns = f"turns-{name}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        crop = st.segmented_control(
            "Crop",
            list(CROPS),
            format_func=CROPS.__getitem__,
            required=True,
            key=f"crop-{name}",
            width="content",
            help=f"Images of the data set were {info.preprocessing.placing}. Choose a region if your image shows more "
            "than the object.",
        )

        def turn() -> None:
            st.session_state[turns] = (st.session_state.get(turns, 0) + 1) % 4

        st.button(
            "Rotate",
            icon=":material/rotate_90_degrees_cw:",
            on_click=turn,
            key=f"turn-{name}",
            help="Rotates the image by 90° clockwise.",
        )
        inverted = st.toggle("Invert", key=f"invert-{name}", help="Swaps dark and light.")
    size, across, down = 1.0, 0.5, 0.5
    if crop == "region":
        with st.container(horizontal=True):
            size = _percent(
                "Size (%)",
                "size",
                name,
                100 * SMALLEST,
                100.0,
                "Side of the region, in per cent of the image's shorter side.",
            )
            across = _percent("Across (%)", "across", name, 0.0, 50.0, "0 is the left edge, 100 the right edge.")
            down = _percent("Down (%)", "down", name, 0.0, 50.0, "0 is the top edge, 100 the bottom edge.")
    return Framing(crop, st.session_state.get(turns, 0), inverted, size, across, down)


def _percent(title: str, key: str, name: str, least: float, start: float, about: str) -> float:
    place = f"{key}-{name}"
    st.session_state.setdefault(place, start)  # a slider that was hidden meanwhile is forgotten
    return float(st.slider(title, least, 100.0, step=0.1, format="%.1f", key=place, width=180, help=about)) / 100


def _words(info: ModelInfo, pixels: np.ndarray, framing: Framing) -> str:
    """What happens to the picture on its way, in words."""
    height, width = pixels.shape[:2]
    stretched, preprocessing = distortion(pixels), info.preprocessing
    shape = {"whole": "", "pad": ", padded to a square", "region": ", cropped to a square region"}[framing.crop]
    if framing.crop == "whole" and preprocessing.resize == "squeeze" and stretched >= SQUARE:
        shape = f", **squeezed into a square** (one side shrinks {stretched:.2f} times as much as the other)"
    colour = "greyscale" if info.channels == 1 else "colour"
    return f"{width:,} × {height:,} pixels{shape}; {preprocessing.placing}, {colour}. The link has these settings."
