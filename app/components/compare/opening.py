"""Links from a comparison to Explore: to one of the compared models, whichever is selected in the sidebar.

They are the browser's: within the session, the sidebar would go on showing its model.
"""

from __future__ import annotations

from html import escape

import streamlit as st

from app.explore_links import explore_address
from app.selection import Selection


def explore_href(selection: Selection, point: str = "") -> str:
    """The address of Explore with a model by its source of prototypes, and perhaps with an image picked."""
    return explore_address(**_named(selection), **({"point": point} if point else {}))


def link_to_images(selection: Selection, condition: str, label: str) -> None:
    """Show a link to Explore, with a model and the images of a condition."""
    href = explore_address(condition, **_named(selection))
    st.html(f'<a class="kx-link" href="{escape(href)}">{escape(label)}</a>')


def _named(selection: Selection) -> dict[str, str]:
    kmex = {} if selection.source.built_in else {"kmex": "true"}
    return {"model": selection.model.name, **selection.source.query, **kmex}
