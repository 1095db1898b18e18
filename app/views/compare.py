"""Compare: models side by side, and what changes from one to another."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app.components.compare.choices import PAIR, choose_measurements, choose_models, choose_part, explain_alone
from app.components.compare.measuring import compared_models, measure_all, prepared_models
from app.components.compare.pair import show_pair
from app.components.compare.radar import show_radar
from app.components.compare.reproduction import show_reproduction
from app.components.compare.tables import show_differences, show_downloads, show_tables
from app.components.shared.notes import show_warnings
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection
from kmex_core.analysis import comparison

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
part = choose_part()
for info in infos:
    show_warnings(replace(chosen, model=info), name=True)
if part == PAIR:
    show_pair(chosen, prepared_models(infos, kmeans))
    st.stop()
images, runs, published = choose_measurements(chosen.model)
compared = compared_models(infos, kmeans, images, runs)
table = comparison.rows([each.evaluation for each in compared if each.evaluation is not None], published)
measure_all(compared, kmeans, images, runs)
show_tables(compared, table)
show_reproduction(table)
show_downloads(table)
show_differences(compared)
show_radar(table)
