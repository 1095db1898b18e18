"""New: a model and images of one's own, in three steps."""

from __future__ import annotations

import streamlit as st

from app.components.new.check import show_check
from app.components.new.draft import choose_step, open_draft
from app.components.new.images import show_images
from app.components.new.model import show_model
from app.components.shared.title import show_title
from kmex_core.base.store import read_only

show_title("New", of_model=False)
st.markdown("**Your model, your images**: turn a network that you have into a model that explains its predictions.")
if read_only():
    st.info(
        "This server is read-only: nothing can be added here. Whoever runs it can bring a model on the command line:",
        icon=":material/lock:",
    )
    st.code("python -m kmex_core new --images FOLDER --model timm:NAME --name mine", language=None, wrap_lines=True)
    st.stop()
opened = open_draft()
{"images": show_images, "model": show_model, "check": show_check}[choose_step(opened)](opened)
