"""This looks like that: the image and its nearest prototypes side by side, each with its relevance map."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import read
from app.components.shared.relevance import address, mapped, plain, show_figures, show_look
from app.selection import Selection
from kmex_core.base.plain_text import markdown
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.catalogue import METHODS
from kmex_core.relevance.types import Explanation, RelevanceMaps

COLUMNS = 4


def explain_maps(method: str) -> None:
    """Show the controls of the maps, and what the maps mean."""
    show_look("look")
    st.caption(
        f"Method: {METHODS[method].title}. The map on the left answers: which pixels of your image make "
        "it look like this prototype? The one on the right: which pixels of the prototype's own picture do?"
    )


def show_comparison(
    chosen: Selection, prototypes: Prototypes, explained: Explanation, own: RelevanceMaps, pixels: np.ndarray
) -> None:
    """Show a row of four pictures for each of the explained prototypes, most similar first.

    Args:
        chosen: the model.
        prototypes: its prototypes.
        explained: the image's explanation.
        own: each prototype's map on its own picture.
        pixels: the image.
    """
    info = chosen.model
    train = read.dataset(info).split("train")
    mine = address(pixels)
    for row, p in enumerate(explained.prototypes.tolist()):
        name = info.class_names[prototypes.classes[p]]
        index = int(prototypes.exemplar[p])
        theirs = address(train.image(index))
        with st.container(border=True):
            st.markdown(_heading(chosen, row, p, name, explained, prototypes))
            figures = [
                plain(mine, "Your image"),
                mapped(mine, explained.maps, row, f"Where it looks like prototype {p}"),
                plain(theirs, f"Prototype {p}: training image {index}"),
                mapped(theirs, own, row, f"Where prototype {p}'s picture does"),
            ]
            show_figures(f"pair-{row}", figures, COLUMNS)


def show_black_box(chosen: Selection, explained: Explanation, pixels: np.ndarray) -> None:
    """Show which pixels the score of the black box's (or the model's own) predicted class comes from."""
    name = chosen.model.class_names[explained.predicted_black_box]
    mine = address(pixels)
    with st.container(border=True):
        what = "For comparison, the black box" if chosen.has_black_box else "The prediction, from all prototypes"
        st.markdown(f"**{what}: {markdown(name)}** · probability {explained.black_box.max():.1%}")
        figures = [
            plain(mine, "Your image"),
            mapped(mine, explained.black_box_map, 0, f"Where its score for {name} comes from"),
        ]
        show_figures("pair-black-box", figures, COLUMNS)


def _heading(chosen: Selection, row: int, p: int, name: str, explained: Explanation, prototypes: Prototypes) -> str:
    place = ("Nearest", "Second", "Third")[row] if row < 3 else f"{row + 1}."
    decides = ", which decides" if row == 0 and chosen.has_black_box else ""
    dot_product = not chosen.has_black_box and MODEL_KINDS[chosen.model.kind].similarity_from == "dot product"
    distance = "" if dot_product else f" · distance ↓ {explained.distance[p]:.2f}"
    return (
        f"**{place} prototype{decides}: {markdown(name)}** (number {p}) · similarity ↑ "
        f"**{explained.similarity[p]:.3f}**{distance} · importance {prototypes.importance[p]:.0%} "
        f"({int(prototypes.count[p]):,} training images)"
    )
