"""Links to images on the page Explore.

They load the page anew, so that the browser's Back button leads back: Streamlit's own links between pages leave several
entries in its history.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from app.explore_links import explore_address


def show_explore_links(links: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Show links beside each other, each with the conditions of the images that it selects, see `app.explore_links`."""
    show_links([(label, explore_address(*conditions)) for label, conditions in links])


def show_links(links: Sequence[tuple[str, str]]) -> None:
    """Show links, texts with addresses, beside each other."""
    shown = "".join(
        f'<a class="kx-link" href="{escape(href)}" target="_self">{escape(label)}</a>' for label, href in links
    )
    if shown:
        st.html(f'<div class="kx-links">{shown}</div>')
