"""Links from a comparison to Explore: to one of the compared models, whichever is selected in the sidebar."""

from __future__ import annotations

import streamlit as st

from app.explore_links import explore_address, explore_query
from app.selection import Selection


def explore_href(selection: Selection, point: str = "") -> str:
    """The address of Explore with a model by its source of prototypes, and perhaps with an image picked."""
    return explore_address(**_named(selection), **({"point": point} if point else {}))


def explore_parameters(selection: Selection, condition: str) -> list[tuple[str, str]]:
    """The query parameters of Explore with a model by its source of prototypes, and the images of a condition."""
    return explore_query(condition, **_named(selection))


def open_explore(selection: Selection, point: str) -> None:
    """Go to Explore, to an image that was clicked."""
    st.switch_page("views/explore.py", query_params=explore_query(**_named(selection), point=point))


def _named(selection: Selection) -> dict[str, str]:
    kmex = {} if selection.source.built_in else {"kmex": "true"}
    return {"model": selection.model.name, **selection.source.query, **kmex}
