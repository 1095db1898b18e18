"""Errors as sentences on the page; their tracebacks go to the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import cache
from kmex_core.errors import KMExError
from kmex_core.plain_text import message

log = logging.getLogger("kmex")


def show_error(text: str, icon: str = ":material/error:") -> None:
    """Show what went wrong: a text, with the names in it as they are, and the store's files without its own place."""
    st.error(message(text.replace(f"{cache.store().root}/", "")), icon=icon)


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
