"""This looks like that: the image and its nearest prototypes side by side, each with its relevance map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from app import cache
from app.state import Selection
from kmex_core.images import COLOURS, enlarged, overlay
from kmex_core.results import Explanation, Prototypes, RelevanceMaps

SIDE = 192
METHODS = {
    "prp": "prototypical relevance propagation (PRP)",
    "integrated_gradients": "Integrated Gradients, because LRP has no rules for this kind of network",
}


# on a phone two by two instead of four below each other
_STYLE = """<style>@media(max-width:640px){
[class*="st-key-kx-pair-"] [data-testid="stColumn"]{min-width:calc(50% - 1rem);flex:1 1 calc(50% - 1rem)}}</style>"""


@dataclass(frozen=True)
class Look:
    """How relevance is laid over a picture."""

    opacity: float
    colours: str


def choose_look(method: str) -> Look:
    """Show the controls of the maps, and what they mean."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        opacity = st.slider(
            "Map opacity (%)",
            0,
            100,
            85,
            5,
            key="opacity",
            bind="query-params",
            width=260,
            help="0 % shows the picture only, 100 % the map only.",
        )
        colours = st.selectbox(
            "Colours",
            list(COLOURS),
            key="colours",
            bind="query-params",
            width=260,
            help="From pixels that speak against the similarity, over those that do not matter, to those that make it.",
        )
    st.caption(
        f"Maps by {METHODS[method]}. {_legend(colours)} The map on the left answers: which pixels of your image make "
        "it look like this prototype? The one on the right: which pixels of the prototype's own picture do?"
    )
    return Look(opacity / 100, colours)


def _legend(colours: str) -> str:
    low, middle, high = COLOURS[colours].names
    return (
        f"**{high.capitalize()}** pixels make the similarity, **{middle}** ones do not matter, **{low}** ones lower it."
    )


def show_comparison(
    chosen: Selection,
    prototypes: Prototypes,
    found: Explanation,
    own: RelevanceMaps,
    pixels: np.ndarray,
    look: Look,
) -> None:
    """Show a row of four pictures for each of the explained prototypes, most similar first.

    Args:
        chosen: the model.
        prototypes: its prototypes.
        found: the image's explanation.
        own: each prototype's map on its own picture.
        pixels: the image.
        look: how maps are laid over pictures.
    """
    st.html(_STYLE)
    info = chosen.model
    train = cache.dataset(info).split("train")
    for row, p in enumerate(found.prototypes.tolist()):
        name = info.class_names[prototypes.classes[p]]
        index = int(prototypes.picture[p])
        theirs = train.image(index)
        with st.container(border=True, key=f"kx-pair-{row}"):
            st.markdown(_heading(chosen, row, p, name, found, prototypes))
            columns = st.columns(4)
            _picture(columns[0], enlarged(pixels, SIDE), "Your image")
            _map(columns[1], pixels, found.maps, row, look, f"Where it looks like prototype {p}")
            _picture(columns[2], enlarged(theirs, SIDE), f"Prototype {p}: training image {index}")
            _map(columns[3], theirs, own, row, look, f"Where prototype {p}'s picture does")


def show_black_box(chosen: Selection, found: Explanation, pixels: np.ndarray, look: Look) -> None:
    """Show which pixels the score of the black box's (or the model's own) predicted class comes from."""
    name = chosen.model.class_names[found.predicted_black_box]
    with st.container(border=True, key="kx-pair-black-box"):
        what = "The prediction, from all prototypes" if chosen.own else "For comparison, the black box"
        st.markdown(f"**{what}: {name}** · probability {found.black_box.max():.1%}")
        columns = st.columns(4)
        _picture(columns[0], enlarged(pixels, SIDE), "Your image")
        _map(columns[1], pixels, found.black_box_map, 0, look, f"Where its score for {name} comes from")


def _heading(chosen: Selection, row: int, p: int, name: str, found: Explanation, prototypes: Prototypes) -> str:
    place = ("Nearest", "Second", "Third")[row] if row < 3 else f"{row + 1}."
    decides = ", which decides" if row == 0 and not chosen.own else ""
    dot_product = chosen.own and chosen.model.kind == "flint"
    distance = "" if dot_product else f" · distance ↓ {found.distance[p]:.2f}"
    return (
        f"**{place} prototype{decides}: {name}** (number {p}) · similarity ↑ **{found.similarity[p]:.3f}**"
        f"{distance} · importance {prototypes.importance[p]:.0%} "
        f"({int(prototypes.count[p]):,} training images)"
    )


def _picture(place: st.delta_generator.DeltaGenerator, pixels: np.ndarray, caption: str) -> None:
    place.image(pixels, caption=caption, alt=caption, width="stretch")


def _map(
    place: st.delta_generator.DeltaGenerator,
    pixels: np.ndarray,
    maps: RelevanceMaps,
    row: int,
    look: Look,
    caption: str,
) -> None:
    _picture(place, overlay(pixels, maps.values[row], look.opacity, look.colours, SIDE), caption)
    if not maps.conserves[row]:
        ratio = maps.conservation[row]
        place.warning(
            f"This map does not conserve: its pixels sum to {ratio:.2f} times the score, not 1. Read it with care."
            if np.isfinite(ratio)
            else "The score is 0, so that the map cannot be checked against it. Read it with care.",
            icon=":material/balance:",
        )
