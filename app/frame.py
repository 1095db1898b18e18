"""The frame around every page: navigation and sidebar. Home.py serves it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.components.models.notices import show_notices
from app.components.shared.messages import errors_as_messages
from app.components.shared.spread import show_spread
from app.components.shared.title import PRODUCT
from app.figures.palette import custom_properties
from app.links import come_back, remember, show_corrections
from app.login import demand
from app.read import look_again, store
from app.state import choose
from kmex_core.models.catalogue import has_only_demos

ASSETS = Path(__file__).parent / "assets"

st.set_page_config(page_title=PRODUCT, page_icon=str(ASSETS / "icon.svg"), layout="wide", initial_sidebar_state=250)
styles = (ASSETS / "style.css").read_text()
st.html(f"<style>{custom_properties()}\n{styles}</style>")
logo = str(ASSETS / "logo.svg")
st.logo(logo, size="large", icon_image=logo)

new = st.Page("views/new.py", title="New", icon=":material/add_circle:")
demos_only = has_only_demos(store())
page = st.navigation(
    [
        *([new] if demos_only else []),
        st.Page("views/overview.py", title="Overview", icon=":material/dashboard:", default=True),
        st.Page("views/explore.py", title="Explore", icon=":material/explore:"),
        st.Page("views/embedding.py", title="Embedding", icon=":material/scatter_plot:"),
        st.Page("views/prototypes.py", title="Prototypes", icon=":material/grid_view:"),
        st.Page("views/sweep.py", title="Prototypes per class", icon=":material/show_chart:"),
        st.Page("views/audit.py", title="Audit", icon=":material/fact_check:"),
        st.Page("views/attributes.py", title="Attributes", icon=":material/label:"),
        st.Page("views/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("views/explain.py", title="Explain", icon=":material/image_search:"),
        *([] if demos_only else [new]),
        st.Page("views/models.py", title="Models", icon=":material/inventory_2:"),
    ]
)
demand()
with errors_as_messages():
    look_again()
    choose()
    come_back(page.url_path)
    show_corrections()
    show_notices()
    try:
        page.run()
    finally:  # it may end early, or begin anew
        remember()
        show_spread()
