"""What a person should know about a model's numbers and its data, on the page that shows them."""

from __future__ import annotations

import streamlit as st

from app import read
from app.selection import Selection
from app.wording import message
from kmex_core.analysis.comparison import CAVEAT
from kmex_core.prototypes.source import edited_note
from kmex_core.prototypes.types import fewer_prototypes


def show_notes(chosen: Selection, of_data: bool = False) -> None:
    """Show why numbers may be too good, whether the data have changed, and which classes have fewer prototypes.

    Args:
        chosen: the model, which must be embedded.
        of_data: whether to show the notes on its data set, too.
    """
    info = chosen.model
    show_warnings(chosen)
    if of_data:
        for note in read.dataset(info).notes:
            st.info(message(note))
    if info.note_on_maps:
        st.info(message(info.note_on_maps))
    if not chosen.is_kmex and info.prototype_caveat:
        st.warning(message(info.prototype_caveat), icon=":material/warning:")
    if chosen.is_kmex:
        prototypes = read.conversion(chosen).prototypes
        if chosen.version is not None:
            st.caption(message(edited_note(chosen.version, prototypes, info.class_names)))
        elif few := fewer_prototypes(prototypes, info.class_names, chosen.kmeans.k):
            st.caption(message(few))


def show_warnings(chosen: Selection, name: bool = False) -> None:
    """Show the warnings alone; with `name`, say which model each is of."""
    for warning in read.subject(chosen.model).warnings():
        st.warning(message(f"{chosen.model.name}: {warning}" if name else warning), icon=":material/warning:")


def marked(label: str, caveat: str) -> str:
    """A number's label, marked when there is a caveat."""
    return f"{label} {CAVEAT}" if caveat else label
