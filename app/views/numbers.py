"""Prototypes per class: what is behind the timeline of Explore."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import read
from app.components.shared.notes import show_warnings
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.components.sweep.curves import add_seeds, show_sweep, wait_for_sweep
from app.components.sweep.lineage import choose_class, show_lineage
from app.components.sweep.suggestion import show_suggestion
from app.selection import SWEEP_SEEDS
from app.state import query, selection
from kmex_core.analysis.suggestion import overall
from kmex_core.base.plain_text import markdown

chosen = selection()
kmex = replace(chosen, source=chosen.kmeans)
info = chosen.model

show_title("Prototypes per class")
st.markdown(
    "How many prototypes does a class need? The timeline of Explore shows agreement, effective number and coverage of "
    "1 to 20 per class. Here are the evidence on each class, accuracy and ghosts, and how prototypes divide."
)
st.page_link("views/explore.py", label="Explore", icon=":material/explore:", query_params=query())
if not chosen.is_kmex:
    st.info(f"{markdown(info.name)} has {info.k} built-in prototypes per class. The curves show KMEx on its embedding.")
prepare(info)
show_warnings(kmex)
if not wait_for_sweep(kmex):
    st.stop()
sweeps, evidence = read.sweeps(kmex), read.suggestion(kmex)
label = choose_class(kmex)
if evidence is not None:
    show_suggestion(kmex, evidence, label)
st.header("What each number gives")
show_sweep(kmex, sweeps, None if evidence is None else overall(evidence))
st.header("How prototypes divide")
show_lineage(kmex, sweeps[SWEEP_SEEDS[0]], label)
add_seeds(kmex, sweeps)
