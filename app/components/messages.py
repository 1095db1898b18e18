"""Errors as sentences on the page; their tracebacks go to the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from kmex_core.errors import KMExError

log = logging.getLogger("kmex")


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Show an expected error as a message and end the page there."""
    try:
        yield
    except KMExError as error:
        log.warning("%s", error, exc_info=not isinstance(error, ValueError))
        st.error(str(error), icon=":material/error:")
        st.stop()
