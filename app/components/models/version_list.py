"""A model's versions: prototypes that people edited on the page Explore and saved."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app import read
from app.components.shared.messages import errors_as_messages
from app.wording import message
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import read_only
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.operations import summary
from kmex_core.stages import versions
from kmex_core.stages.versions import Saved


def show_versions(info: ModelInfo) -> None:
    """Show the versions of a model, the newest first, and what can be done with each."""
    saved, damaged = versions.versions_of(read.store(), info.name)
    for words in damaged:
        st.warning(message(words))
    if not saved:
        return
    st.markdown("**Versions**: edited prototypes")
    for each in reversed(saved):
        _show(info, each)


def _show(info: ModelInfo, saved: Saved) -> None:
    version = saved.version
    date = f"{datetime.fromtimestamp(saved.created, UTC):%Y-%m-%d}"
    note = f"  \n{message(saved.note)}" if saved.note else ""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{markdown(version.name)}** · {date} · {message(summary(version.operations))}{note}")
        st.page_link(
            "views/explore.py",
            label="Open in Explore",
            icon=":material/explore:",
            query_params={"model": info.name, **version.query},
        )
        if read_only():
            return
        if st.button("Rename", icon=":material/edit:", key=f"rename-{version.digest}-{version.name}"):
            _rename(info, version.name)
        if st.button("Delete", icon=":material/delete:", key=f"delete-{version.digest}-{version.name}"):
            _delete(info, version.name)


@st.dialog("Rename version")
def _rename(info: ModelInfo, name: str) -> None:
    new = st.text_input("New name", name, max_chars=80)
    if st.button("Rename", type="primary", key="rename-version-now") and new != name:
        with errors_as_messages():
            versions.rename(read.store(), info.name, name, new)
            st.rerun()


@st.dialog("Delete version")
def _delete(info: ModelInfo, name: str) -> None:
    st.markdown(f"Delete the version **{markdown(name)}** permanently? Its edits cannot be restored.")
    if st.button("Delete permanently", type="primary", key="delete-version-now", icon=":material/delete:"):
        with errors_as_messages():
            versions.delete(read.store(), info.name, name)
            st.rerun()
