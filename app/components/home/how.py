"""How KMEx predicts, in a few sentences and as a picture."""

from __future__ import annotations

import streamlit as st

from app.figures.diagram import DIAGRAM_ALT, diagram
from app.selection import DEFAULT_K
from app.wording import how_it_works
from kmex_core.data.colours import DARK, LIGHT
from kmex_core.prototypes.source import KMeans


def show_how() -> None:
    """Show it, folded."""
    with st.expander("How KMEx works", icon=":material/lightbulb:"):
        st.markdown(how_it_works("blackbox", KMeans(DEFAULT_K)))
        theme = DARK if st.context.theme.type == "dark" else LIGHT
        st.image(diagram(theme.ink), alt=DIAGRAM_ALT, width=760, output_format="PNG")
