"""The title of a page, and of its tab in the browser."""

from __future__ import annotations

import streamlit as st

from app.state import selection
from kmex_core.base.plain_text import markdown

PRODUCT = "KMEx Explorer"


def show_title(text: str, *, of_model: bool = True) -> None:
    """Show a page's title, and name its tab after it, the selected model and the product.

    Args:
        text: the title, as plain text.
        of_model: the page is about the selected model.
    """
    st.title(markdown(text), anchor=False)
    parts = [text, PRODUCT]
    if of_model:
        chosen = selection()
        version = [chosen.version.name] if chosen.version else []
        parts = [text, chosen.model.name, *version, PRODUCT]
    st.set_page_config(page_title=" · ".join(parts))
