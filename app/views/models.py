"""Data and models: what is in the store; train, import, rename, export and delete."""

from __future__ import annotations

import streamlit as st

from app.components.models.data_list import show_data
from app.components.models.forms import show_import, show_training
from app.components.models.jobs import show_jobs
from app.components.models.model_list import choose_model, show_model, show_place
from app.components.shared.title import show_title
from app.links import link_to_new
from kmex_core.base.store import read_only

show_title("Data and models", of_model=False)
show_place()
if read_only():
    st.info(
        "This server is read-only: you can open models but not train, import or change them.", icon=":material/lock:"
    )
else:
    show_jobs()
st.header("Models", anchor=False)
chosen = choose_model()
if chosen is not None:
    show_model(chosen)
st.header("Data sets", anchor=False)
show_data()
if read_only():
    st.stop()
st.header("Add", anchor=False)
link_to_new()
with st.expander("Train a model", icon=":material/model_training:"):
    show_training()
with st.expander("Import weights", icon=":material/upload:"):
    show_import()
