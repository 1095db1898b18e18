"""Explore: the embedding map, the prototypes, and how both change with their number, on one screen."""

from __future__ import annotations

import streamlit as st

from app.components.explore.workspace import prepare_workspace, show_workspace
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection

chosen = selection()

show_title("Explore")
prepare(chosen.model)
show_notes(chosen)
if not prepare_workspace(chosen):
    st.stop()
show_workspace(chosen)
