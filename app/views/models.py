"""Models: what is in the store; train, import, rename, export and delete."""

from __future__ import annotations

import streamlit as st

from app.components.models.forms import show_import, show_training
from app.components.models.jobs import show_jobs
from app.components.models.model_list import choose_model, show_model, show_place
from app.components.shared.title import show_title
from kmex_core.base.store import read_only

show_title("Models", of_model=False)
st.markdown("The models in the store. Opening a model converts it to KMEx.")
show_place()
if read_only():
    st.info(
        "This server is read-only: you can open models but not train, import or change them.", icon=":material/lock:"
    )
else:
    show_jobs()
chosen = choose_model()
if chosen is not None:
    show_model(chosen)
if read_only():
    st.stop()
train, bring = st.tabs(["Train a model", "Import a model"])
with train:
    show_training()
with bring:
    show_import()
