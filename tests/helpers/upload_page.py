"""The page of `upload_server`."""

from __future__ import annotations

import streamlit as st

from app.components.new.upload import show_upload, show_uploads
from app.figures.palette import custom_properties
from kmex_core.base.plain_text import markdown

st.html(f"<style>{custom_properties()}</style>")
st.title("Uploads")
st.button("Run again")
if path := show_upload():
    st.session_state["path"] = path
if path := show_uploads():
    st.session_state["path"] = path
st.markdown(f"Data set: {markdown(st.session_state.get('path', 'none'))}")
