"""Compare: models side by side, and what changes from one to another."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app.components.compare.choices import choose_models, choose_runs, explain_alone
from app.components.compare.measuring import compared_models, measure_all
from app.components.compare.pair import show_pair
from app.components.compare.radar import show_radar
from app.components.compare.tables import no_figures, show_differences, show_downloads, show_tables
from app.components.shared.notes import show_warnings
from app.components.shared.preparation import prepare
from app.components.shared.relevance_scores import choose_images
from app.components.shared.title import show_title
from app.links import bound_switch
from app.state import selection
from kmex_core.analysis import comparison
from kmex_core.data import registry as datasets

chosen = selection()
kmeans = chosen.kmeans

show_title("Compare")
st.markdown(
    "Which model is better, and by how much? A row is a model by one of its sources of prototypes: its built-in ones, "
    "or those that KMEx finds. Click a row's name to open it in Explore."
)
prepare(chosen.model)
infos = choose_models(chosen)
if not infos:
    st.info("Choose at least one model.")
    st.stop()
explain_alone(chosen.model)
with st.container(horizontal=True, vertical_alignment="bottom"):
    images = choose_images(chosen.model)
    runs = choose_runs()
    bind = bound_switch("published", False)
    published = st.toggle("Paper's figures", False, key="published", bind=bind)
if published and (missing := no_figures(datasets.title(chosen.model.dataset))):
    st.caption(missing)
for info in infos:
    show_warnings(replace(chosen, model=info), name=True)
compared = compared_models(infos, kmeans, images, runs)
table = comparison.rows([each.evaluation for each in compared if each.evaluation is not None], published)
measure_all(compared, kmeans, images, runs)
show_tables(compared, table)
show_downloads(table)
show_differences(compared)
show_radar(table)
show_pair(chosen, [each.selection for each in compared])
