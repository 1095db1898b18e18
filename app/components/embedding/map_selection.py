"""What is selected on the embedding map, and its card."""

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


def selected_on_map(chosen: Selection, projection: Projection) -> str:
    """What the link selects, as the embedding map names it; "" for nothing, and for what does not exist."""
    name = picked(KIND)
    if not name:
        return ""
    instead = "Click a dot or a square to select it."
    if numbered := re.fullmatch(r"(train|test)-(\d{1,9})", name, re.ASCII):
        count = len(projection.train if numbered[1] == "train" else projection.test)
        if int(numbered[2]) < count:
            return name
        instead = f"The {numbered[1]} images are numbered 0 to {count - 1:,}."
    elif name.startswith("prototype-"):
        named = name.removeprefix("prototype-")
        index = prototype_index(named, _classes(chosen))
        if index is not None:
            return f"prototype-{index}"
        instead = missing_prototype(named, _classes(chosen), chosen.model.class_names)
    refuse(KIND, name, instead)
    return ""


def select_on_map(chosen: Selection, clicked: str) -> None:
    """Put a click on the embedding map into the link."""
    kind, _, number = clicked.partition("-")
    pick(KIND, f"prototype-{prototype_name(int(number), _classes(chosen))}" if kind == "prototype" else clicked)


def show_selected(chosen: Selection, projection: Projection, selected: str) -> None:
    """Show the card of what is selected, or a hint."""
    if not selected:
        st.info("Click a dot or a square for details.", icon=":material/touch_app:")
        return
    kind, _, number = selected.partition("-")
    with st.container(border=True):
        if kind == "prototype":
            show_prototype_summary(chosen, int(number))
            if st.button("Open prototype", icon=":material/open_in_full:"):
                open_prototype(chosen, int(number))
        else:
            show_image_card(chosen, projection, kind, int(number))
        if st.button("Close", icon=":material/close:"):
            pick(KIND, "")
            st.rerun()
