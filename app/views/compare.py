"""Compare: models side by side, and beside the paper's figures."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app.components.compare.model_table import (
    choose_models,
    choose_runs,
    evaluations,
    explain_alone,
    show_differences,
    show_radar,
    show_table,
)
from app.components.shared.notes import show_warnings
from app.components.shared.preparation import prepare
from app.components.shared.relevance_scores import choose_images, measure_all
from app.components.shared.title import show_title
from app.links import bound_switch
from app.state import selection
from kmex_core.analysis import comparison

chosen = selection()
k = chosen.kmeans.k

show_title("Compare")
st.markdown("Models with and without KMEx side by side, in the paper's metrics and beside the paper's figures.")
infos = choose_models(chosen)
if not infos:
    st.info("Choose at least one model.")
    st.stop()
if len(infos) == 1:
    explain_alone(infos[0])
with st.container(horizontal=True, vertical_alignment="bottom"):
    images = choose_images(chosen.model)
    runs = choose_runs()
    bind = bound_switch("published", True)
    published = st.toggle("Paper's figures", True, key="published", bind=bind)
prepare(*infos)
for info in infos:
    show_warnings(replace(chosen, model=info), name=True)
measured = evaluations(infos, chosen.kmeans, images, runs)
table = comparison.rows(measured, published)
show_table(table)
show_differences(measured)
measure_all(infos, chosen.kmeans, images, runs)
st.header("Strengths and weaknesses", help="Figure 4 of the paper.")
show_radar(table)
