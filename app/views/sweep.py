"""Prototypes per class: what each number buys."""

from __future__ import annotations

import streamlit as st

from app import cache
from app.components.preparation import prepare
from app.components.sweep import KS, found_summaries, show_sweep, wait_for_sweep
from app.state import selection

chosen = selection()
info = chosen.model

st.title("Prototypes per class")
st.markdown(
    "How many prototypes does a class need? More follow the black box more closely and show finer differences; fewer "
    "are quicker to take in. The slider in the sidebar moves the mark."
)
prepare(info)
cache.conversion(info, chosen.k, chosen.seed)  # the chosen number first, whatever else is missing
if len(found_summaries(chosen)) < len(KS) and not wait_for_sweep(chosen):
    st.stop()
show_sweep(chosen)
