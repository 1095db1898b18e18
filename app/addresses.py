"""Every address of the dashboard: where the server answers, and how a page names it.

The server answers below `server.baseUrlPath`. A page names everything relative to itself, since all pages lie side by
side: that holds below the prefix, and behind a proxy that takes a prefix away which the server has never heard of.
"""

from __future__ import annotations

import streamlit as st

ASSETS = "/assets"


def route(path: str) -> str:
    """Where the server answers for `path` ("/maps/…"): below the prefix, "/kmex/explorer/maps/…"."""
    prefix = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{prefix}{path}" if prefix else path


def link(path: str) -> str:
    """How a page names `path` ("/maps/…", or the name of a page): relative to any page."""
    return path.removeprefix("/")
