"""This looks like that: the image and its nearest prototypes side by side, each with its relevance map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import read
from app.claims.predictions import how_far, map_verdict, map_worth
from app.components.explain.image_picker import Picked
from app.components.shared.figure import show_figure
from app.components.shared.relevance import choose_maps, show_figures, show_look
from app.figures.overlay import ground, mapped, plain
from app.figures.relevance import margin_figure
from app.selection import Selection
from app.wording import message
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.catalogue import METHODS, MapKind
from kmex_core.relevance.types import JUDGED, Explanation, MapVerdict

COLUMNS = 3


def choose_usable_maps(chosen: Selection) -> MapKind:
    """Show the choice of a kind of relevance map; where it cannot explain the model, say so and take the default."""
    with st.container(horizontal=True):
        maps = choose_maps(chosen.model)
    if why := read.why_no_maps(chosen, maps):
        default = chosen.model.default_maps
        instead = METHODS[default.method].title
        st.info(message(f"{why} These relevance maps use {instead}."), icon=":material/block:")
        return MapKind(maps.target, default.method)
    return maps


def show_map_controls(maps: MapKind) -> None:
    """Show the controls of the relevance maps, and what they mean."""
    show_look("look")
    st.caption(
        f"{maps.title}. The left relevance map shows which pixels of your image speak for the prototype; the right one "
        "shows which pixels of the prototype's exemplar do."
    )


@dataclass(frozen=True)
class Places:
    """Where the parts of a row of `show_comparison` come when they are computed.

    Attributes:
        exemplar: the prototype's exemplar, and its map.
        verdict: the verdict on the image's map.
    """

    exemplar: DeltaGenerator
    verdict: DeltaGenerator


def show_comparison(
    chosen: Selection, prototypes: Prototypes, explanation: Explanation, pixels: np.ndarray
) -> list[Places]:
    """Show the image and its relevance map for each of the explained prototypes, most similar first.

    Args:
        chosen: the model.
        prototypes: its prototypes.
        explanation: the image's explanation.
        pixels: the image.

    Returns:
        Where the rest of each row comes.
    """
    info = chosen.model
    image = ground(pixels, info.preprocessing)
    places = []
    for row, p in enumerate(explanation.prototypes.tolist()):
        name = info.class_names[prototypes.classes[p]]
        with st.container(border=True):
            st.markdown(_heading(chosen, row, p, name, explanation, prototypes))
            left, right = st.columns([1, 2])
            with left:
                about = f"Relevance for prototype {p} in your image"
                show_figures(f"pair-{row}", [mapped(image, explanation.maps, row, "Relevance in your image", about)], 1)
            places.append(Places(right.container(), st.container()))
    return places


def show_exemplars(
    chosen: Selection, prototypes: Prototypes, explanation: Explanation, maps: MapKind, places: Sequence[Places]
) -> None:
    """Show each prototype's exemplar with its map, in the places of `show_comparison`."""
    info, train = chosen.model, read.dataset(chosen.model).split("train")
    for row, (p, place) in enumerate(zip(explanation.prototypes.tolist(), places, strict=True)):
        index = int(prototypes.exemplar[p])
        exemplar = ground(train.image(index), info.preprocessing)
        with place.exemplar:
            about = f"Relevance for prototype {p} in its exemplar"
            figures = [
                plain(exemplar, f"Exemplar: training image {index:,}"),
                mapped(exemplar, read.prototype_map(chosen, p, maps), 0, "Relevance in the exemplar", about),
            ]
            show_figures(f"exemplar-{row}", figures, COLUMNS - 1)


def show_verdicts(
    chosen: Selection, prototypes: Prototypes, explanation: Explanation, picked: Picked, places: Sequence[Places]
) -> None:
    """Show what the image's maps are worth, in the places of `show_comparison`."""
    ids = explanation.prototypes.tolist()
    if not ids:
        return
    with places[0].verdict:
        verdicts = read.verdicts(chosen, picked.name, picked.pixels, ids, explanation.maps)
    for row, (p, place, verdict) in enumerate(zip(ids, places, verdicts, strict=True)):
        with place.verdict:
            show_verdict(f"verdict-{row}", verdict, chosen.model.class_names[prototypes.classes[p]])


def show_verdict(key: str, verdict: MapVerdict, class_name: str) -> None:
    """Show what a relevance map is worth, in words and as a small curve."""
    words, curve = st.columns([3, 2], vertical_alignment="center")
    words.markdown(map_worth(verdict))
    words.caption(map_verdict(verdict, JUDGED, class_name))
    if verdict.margin is not None:
        with curve:
            show_figure(key, margin_figure(verdict, JUDGED), "How much of the margin is left without the top pixels")


def show_black_box(chosen: Selection, explanation: Explanation, pixels: np.ndarray) -> None:
    """Show which pixels contribute to the predicted class, of the black box, if any, or of the model itself."""
    if explanation.predicted_black_box is None or explanation.black_box is None or explanation.black_box_map is None:
        return
    name = chosen.model.class_names[explanation.predicted_black_box]
    image = ground(pixels, chosen.model.preprocessing)
    with st.container(border=True):
        what = "For comparison: black box" if chosen.has_black_box else "Prediction (all prototypes)"
        st.markdown(f"**{what}, {markdown(name)}** · probability {explanation.black_box.max():.1%}")
        figures = [mapped(image, explanation.black_box_map, 0, f"Relevance for {name}")]
        show_figures("pair-black-box", figures, COLUMNS)


def _heading(chosen: Selection, row: int, p: int, name: str, explanation: Explanation, prototypes: Prototypes) -> str:
    place = ("Nearest", "Second", "Third")[row] if row < 3 else f"{row + 1}."
    decides = " (decides)" if row == 0 and chosen.is_kmex else ""
    return (
        f"**{place} prototype{decides}: {markdown(name)}**, number {p} · "
        f"**{how_far(chosen, prototypes, explanation, p)}** · importance {prototypes.importance[p]:.0%} "
        f"({int(prototypes.count[p]):,} training images)"
    )
