"""Prototypes per class: metrics over the number of prototypes."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import read
from app.components.shared.notes import show_warnings
from app.components.shared.preparation import prepare
from app.components.shared.summaries import stored_summaries
from app.components.shared.title import show_title
from app.components.sweep.curves import show_sweep, wait_for_sweep
from app.selection import KS
from app.state import selection
from kmex_core.base.plain_text import markdown

chosen = selection()
kmex = replace(chosen, source=chosen.kmeans)
info = chosen.model

show_title("Prototypes per class")
st.markdown(
    "How many prototypes does a class need? The curves show the metrics for 1 to 20 prototypes per class; the slider "
    "in "
    "the sidebar moves the mark."
)
if not chosen.has_black_box:
    st.info(f"{markdown(info.name)} has {info.k} built-in prototypes per class. The curves show KMEx on its embedding.")
prepare(info)
show_warnings(kmex)
read.conversion(kmex)  # the chosen number first, whatever else is missing
if len(stored_summaries(kmex)) < len(KS) and not wait_for_sweep(kmex):
    st.stop()
show_sweep(kmex)
