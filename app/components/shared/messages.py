"""Errors as sentences on the page; their tracebacks go to the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app.wording import message
from kmex_core.base.errors import KMExError

log = logging.getLogger("kmex")


def show_error(text: str, icon: str = ":material/error:") -> None:
    """Show what went wrong: a text, with the names in it as they are."""
    st.error(message(text), icon=icon)


def upload_limit(most: int) -> int:
    """The largest upload in megabytes: `most`, or less where the server is set to take less."""
    return min(most, int(st.get_option("server.maxUploadSize")))


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Show an expected error as a message and end the page there."""
    try:
        yield
    except KMExError as error:
        log.warning("%s", error, exc_info=not isinstance(error, ValueError))
        show_error(str(error))
        st.stop()
