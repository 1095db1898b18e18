"""What a component of a whole page tells: a new address, as often as it changed, and another page to open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import streamlit as st


def told_address(key: str) -> Mapping[str, Any]:
    """What the component said last of the page's address; empty at first."""
    told = st.session_state.get(key, {}).get("address")
    return told if isinstance(told, Mapping) else {}


def told_turn(key: str) -> int:
    """How often the component said that its address changed: data of an earlier turn change nothing in it."""
    turn = told_address(key).get("turn", 0)
    return turn if isinstance(turn, int) else 0


def told_page(told: object, pages: Collection[str]) -> tuple[str, dict[str, str]] | None:
    """The page, one of `pages`, that the component wants opened, and its parameters; None for what cannot be."""
    match told:
        case {"page": str(page), "query": dict(query)} if page in pages:
            return page, {str(name): str(value) for name, value in query.items()}
    return None
