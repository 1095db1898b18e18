"""The component Explore: its addresses and choices."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from app import read
from app.components.explore.address import address_now, remember_address
from app.components.shared.job_panel import follow
from app.components.shared.sweeps import compute_sweeps, computed_here
from app.components.shared.told import told_page, told_turn
from app.components.shared.web import EXPLORE, component
from app.links import leave_for
from app.routes import pictures, workspace
from app.selection import KS, SWEEP_SEEDS, Selection
from app.wording import MEANWHILE
from app.workspace.given import given
from app.workspace.sources import source_text
from app.workspace.timeline import timeline
from kmex_core.base.store import read_only
from kmex_core.commands.embedding_map import embedding_map_job
from kmex_core.commands.sweep import sweep_job
from kmex_core.prototypes.source import KMeans

_explore = component(*EXPLORE)
KEY = "explore"
OPENED = (KEY, "explain", "prototypes", "numbers")  # the pages that it leads to


def prepare_workspace(chosen: Selection) -> bool:
    """Whether the embedding map is there; while it is not, show the progress of its job."""
    subject = read.subject(chosen.model)
    if read.peek(subject.embedding_map()) is not None:
        return True
    about = f"Takes up to a minute, once per model. {MEANWHILE}"
    follow(embedding_map_job(subject), "Computing the embedding map.", about)
    return False


def show_workspace(chosen: Selection) -> None:
    """Show the component, and the progress of what its timeline needs."""
    address = address_now(chosen)
    shown = _explore(
        key=KEY,
        data=_data(chosen, address),
        on_address_change=lambda: remember_address(chosen, KEY),
        on_open_change=_take_version,
    )
    if (target := told_page(shown.open, OPENED)) and target[0] != KEY:
        leave_for(*target)
    _complete_timeline(chosen)


def _take_version() -> None:
    """Select the version that was saved: for a callback, before the sidebar has its widgets."""
    target = told_page(st.session_state[KEY].get("open"), OPENED)
    if target and target[0] == KEY and "version" in target[1]:
        st.session_state["version"] = target[1]["version"]
        with contextlib.suppress(StreamlitAPIException):  # bound already: the widget writes it
            st.query_params["version"] = target[1]["version"]


def _data(chosen: Selection, address: dict[str, Any]) -> dict[str, Any]:
    info, subject = chosen.model, read.subject(chosen.model)
    over_k = _timeline(chosen)
    sources = [KMeans(k, chosen.kmeans.seed, chosen.kmeans.metric) for k in KS if over_k]
    return {
        **given(subject, chosen, sources, over_k),
        "base": workspace.base(info.name),
        "pictures": pictures.folder(info.name, subject.data.fingerprint),
        "can": {"pictures": True, "edits": not read_only(), "open": True},
        "address": address,
        "turn": told_turn(KEY),
    }


def _timeline(chosen: Selection) -> dict[str, Any] | None:
    """The curves over the number of prototypes; None without a sweep."""
    sweeps = read.sweeps(chosen) if chosen.is_kmex else {}
    if not sweeps:
        return None
    return timeline(list(sweeps.values()), read.suggestion(chosen), lambda k: source_text(replace(chosen.kmeans, k=k)))


def _complete_timeline(chosen: Selection) -> None:
    """Compute the sweep and the suggestion where they are missing: here if that is a second's work, else by a job."""
    if not chosen.is_kmex:
        return
    subject = read.subject(chosen.model)
    missing = [seed for seed in SWEEP_SEEDS if seed not in read.sweeps(chosen)]
    if not missing and read.suggestion(chosen) is not None:
        return
    if computed_here(chosen):
        compute_sweeps(chosen, missing)
        st.rerun()
    if SWEEP_SEEDS[0] in missing or read.suggestion(chosen) is None:
        about = "The timeline appears when it is done; the map can be used meanwhile."
        follow(sweep_job(subject, chosen.kmeans), "Converting for 1 to 20 prototypes per class.", about)
