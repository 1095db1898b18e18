"""What is selected on the map, and the card that tells of it."""

from __future__ import annotations

import re

import numpy as np
import streamlit as st

from app import read
from app.components.embedding.image_card import show_image_card
from app.components.shared.prototype_card import open_prototype, show_prototype_summary
from app.links import missing_prototype, pick, picked, prototype_index, prototype_name, refuse
from app.selection import Selection
from kmex_core.analysis.types import Projection

KIND = "point"


def _classes(chosen: Selection) -> np.ndarray:
    return read.conversion(chosen).prototypes.classes


def selected_on_map(chosen: Selection, drawn: Projection) -> str:
    """What the link selects, as the map names it; "" for nothing, and for what does not exist, which is said."""
    name = picked(KIND)
    if not name:
        return ""
    instead = "Click what you want to look at."
    if found := re.fullmatch(r"(train|test)-(\d{1,9})", name, re.ASCII):
        there = len(drawn.train if found[1] == "train" else drawn.test)
        if int(found[2]) < there:
            return name
        instead = f"The {found[1]} images go from 0 to {there - 1:,}."
    elif name.startswith("prototype-"):
        named = name.removeprefix("prototype-")
        index = prototype_index(named, _classes(chosen))
        if index is not None:
            return f"prototype-{index}"
        instead = missing_prototype(named, _classes(chosen), chosen.model.class_names)
    refuse(KIND, name, instead)
    return ""


def select_on_map(chosen: Selection, clicked: str) -> None:
    """Remember a click on the map in the link."""
    kind, _, number = clicked.partition("-")
    pick(KIND, f"prototype-{prototype_name(int(number), _classes(chosen))}" if kind == "prototype" else clicked)


def show_selected(chosen: Selection, drawn: Projection, selected: str) -> None:
    """Show the card of what is selected, or what to do."""
    if not selected:
        st.info("Click a dot or a square on the map to see what it is.", icon=":material/touch_app:")
        return
    kind, _, number = selected.partition("-")
    with st.container(border=True):
        if kind == "prototype":
            show_prototype_summary(chosen, int(number))
            if st.button("Open prototype", icon=":material/open_in_full:"):
                open_prototype(chosen, int(number))
        else:
            show_image_card(chosen, drawn, kind, int(number))
        if st.button("Close", icon=":material/close:"):
            pick(KIND, "")
            st.rerun()
