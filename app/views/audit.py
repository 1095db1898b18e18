"""Audit: the paper's predicates in words, with the numbers behind them."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.audit.predictions import show_predictions
from app.components.audit.prototypes import show_diversity, show_transparency
from app.components.audit.relevance_maps import show_relevance_maps
from app.components.audit.stability import show_stability
from app.components.shared.downloads import show_download
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection
from kmex_core.analysis import comparison

chosen = selection()

show_title("Audit")
st.markdown("Can you trust this model? Each sentence is computed from its data. ↑ higher is better, ↓ lower is better.")
prepare(chosen.model)
show_notes(chosen)
evaluation = read.evaluation(chosen, [chosen.kmeans.seed], 0)

with st.container(border=True):
    show_predictions(chosen, evaluation)
with st.container(border=True):
    evaluation = show_relevance_maps(chosen)
with st.container(border=True):
    show_transparency(chosen, evaluation)
with st.container(border=True):
    show_diversity(chosen, evaluation)
if chosen.is_kmex:
    with st.container(border=True):
        show_stability(chosen)
show_download(
    "All numbers as CSV",
    lambda: comparison.as_csv(comparison.rows([evaluation], False)),
    f"{chosen.model.name}-metrics.csv",
)
