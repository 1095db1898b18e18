"""Explore: the embedding map, the prototypes, and how both change with their number, on one screen."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.explore.header import show_header
from app.components.explore.workspace import prepare_workspace, show_workspace
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection

chosen = selection()

if not read.subject(chosen.model).is_embedded:
    show_title("Explore")
prepare(chosen.model)
show_header(chosen)
show_notes(chosen, of_data=True)
if not prepare_workspace(chosen):
    st.stop()
show_workspace(chosen)
