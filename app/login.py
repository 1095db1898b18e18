"""Streamlit's log-in: once secrets.toml has a section [auth], pages and routes are for those who are logged in."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

import streamlit as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import _get_signed_cookie_with_chunks

Endpoint = Callable[[Request], Response]
AsyncEndpoint = Callable[[Request], Awaitable[Response]]


def is_needed() -> bool:
    """Whether secrets.toml asks for a log-in."""
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets


def demand() -> None:
    """Show nothing but the button that logs in, until somebody is; then offer to log out."""
    if not is_needed():
        return
    if not st.user.is_logged_in:
        st.title("KMEx Explorer")
        st.markdown("Log in to use this server.")
        st.button("Log in", icon=":material/login:", type="primary", on_click=st.login)
        st.stop()
    st.sidebar.button("Log out", icon=":material/logout:", on_click=st.logout)


def guarded(endpoint: Endpoint) -> Endpoint:
    """A route's endpoint that answers those who are logged in, and everybody where no log-in is needed."""

    def guard(request: Request) -> Response:
        return _refusal(request) or endpoint(request)

    return guard


def guarded_async(endpoint: AsyncEndpoint) -> AsyncEndpoint:
    """`guarded` for an endpoint that reads what is sent while it arrives."""

    async def guard(request: Request) -> Response:
        return _refusal(request) or await endpoint(request)

    return guard


def _refusal(request: Request) -> Response | None:
    if is_needed() and not _is_logged_in(request.cookies):
        return PlainTextResponse("Log in first.\n", 403)
    return None


def _is_logged_in(cookies: Mapping[str, str]) -> bool:
    # Streamlit has no public function for what its WebSocket does with the signed cookie
    content = _get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE_NAME)
    return content is not None and json.loads(content).get("is_logged_in") is True
