"""Links from a comparison to Explore: to one of the compared models, whichever is selected in the sidebar.

They are the browser's: within the session, the sidebar would go on showing its model.
"""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

import streamlit as st

from app.addresses import link
from app.explore_links import PAGE, SELECT
from app.selection import Selection
from app.state import query


def explore_href(selection: Selection, condition: str = "", point: str = "") -> str:
    """The address of Explore with a model by its source of prototypes, and perhaps with the images of a condition or
    one that is picked."""
    named = {"dataset": query()["dataset"], "model": selection.model.name, **selection.source.query}
    parts = [*named.items(), *([(SELECT, condition)] if condition else []), *([("point", point)] if point else [])]
    return f"{link(PAGE)}?{urlencode(parts)}"


def link_to_images(selection: Selection, condition: str, label: str) -> None:
    """Show a link to Explore, with a model and the images of a condition."""
    st.html(f'<a class="kx-link" href="{escape(explore_href(selection, condition))}">{escape(label)}</a>')
