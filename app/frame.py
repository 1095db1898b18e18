"""The frame around every page: navigation and sidebar. Home.py serves it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import warm_up
from app.components.models.notices import show_notices
from app.components.shared.messages import errors_as_messages
from app.components.shared.spread import show_spread
from app.components.shared.title import PRODUCT
from app.figures.palette import custom_properties
from app.links import come_back, remember, show_corrections
from app.login import demand
from app.read import look_again
from app.sharded import is_any
from app.spare_memory import give_back_at_rest
from app.state import choose, keep_selection, take_up_selection

ASSETS = Path(__file__).parent / "assets"
EXPLAINING = ("explain", "audit", "compare")  # pages that need torch as soon as they are opened

st.set_page_config(page_title=PRODUCT, page_icon=str(ASSETS / "icon.svg"), layout="wide", initial_sidebar_state=250)
styles = (ASSETS / "style.css").read_text()
st.html(f"<style>{custom_properties()}\n{styles}</style>")
logo = str(ASSETS / "logo.svg")
st.logo(logo, size="large", icon_image=logo)

page = st.navigation(
    [
        st.Page("views/home.py", title="Home", icon=":material/home:", default=True),
        st.Page("views/explore.py", title="Explore", icon=":material/explore:"),
        st.Page("views/explain.py", title="Explain", icon=":material/image_search:"),
        st.Page("views/prototypes.py", title="Prototypes", icon=":material/grid_view:"),
        st.Page("views/audit.py", title="Audit", icon=":material/fact_check:"),
        st.Page("views/attributes.py", title="Attributes", icon=":material/label:"),
        st.Page("views/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("views/models.py", title="Data and models", icon=":material/inventory_2:"),
        st.Page("views/new.py", title="New", icon=":material/add_circle:"),
        st.Page("views/numbers.py", title="Prototypes per class", visibility="hidden"),
        st.Page(
            "views/large.py",
            title="Large embeddings",
            icon=":material/grain:",
            visibility="visible" if is_any() else "hidden",
        ),
    ]
)
of_model = page.url_path not in ("", "large")  # these show no model
demand()
if page.url_path in EXPLAINING:
    warm_up.engine()
with errors_as_messages():
    look_again()
    if of_model:
        take_up_selection()
        choose()
        keep_selection()
    come_back(page.url_path)
    show_corrections()
    show_notices()
    try:
        page.run()
    finally:  # it may end early, or begin anew
        remember()
        give_back_at_rest()
        if of_model:
            show_spread()
