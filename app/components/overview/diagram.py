"""KMEx as a picture."""

from __future__ import annotations

import streamlit as st

from app.figures.diagram import DIAGRAM_ALT, diagram
from app.figures.palette import DARK, LIGHT
from app.selection import Selection
from app.wording import how_it_works


def explain_model(chosen: Selection) -> None:
    """Explain how KMEx, or a prototypical model with its built-in prototypes, predicts."""
    st.markdown(how_it_works(chosen.model.kind, chosen.source))
    if chosen.is_kmex:
        show_diagram()


def show_diagram() -> None:
    """Draw how KMEx predicts."""
    theme = DARK if st.context.theme.type == "dark" else LIGHT
    st.image(diagram(theme.ink), alt=DIAGRAM_ALT, width=760, output_format="PNG")
