"""Models that were made in the background: a notice on every page, until it is dismissed."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import read
from app.components.shared.making import KINDS, is_made, making, parts_of
from app.state import select_model
from kmex_core.base import jobs
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import read_only
from kmex_core.data import uploads

EVERY = 4.0


def show_notices() -> None:
    """Show which jobs that make models have ended; while one runs, check every few seconds."""
    if read_only():
        return  # nobody can make models here, or dismiss a notice
    known = {name: job for name in making() if (job := jobs.look(read.store(), name))}
    running = [name for name, job in known.items() if job.state == "running"]
    if running:
        _wait(running)
    # not in the fragment, whose runs have no sidebar: a button there could not select a model
    for name, job in known.items():
        if is_made(name, job):
            _ready(name)
        elif job.state == "failed":
            _failed(name)


@st.fragment(run_every=EVERY)
def _wait(running: Sequence[str]) -> None:
    jobs_now = [jobs.look(read.store(), name) for name in running]
    if any(job is None or job.state != "running" for job in jobs_now):
        st.rerun()  # the lists of models have changed


def _ready(name: str) -> None:
    kind, model = parts_of(name)
    info = next((info for info in read.models() if info.name == model), None)
    if info is None:  # deleted or renamed meanwhile
        jobs.forget(read.store(), name)
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"notice-{name}"):
        accuracy = "" if info.accuracy is None else f" It classifies {info.accuracy:.1%} of the test images correctly."
        st.markdown(f":material/check_circle: **{markdown(model)}** is {KINDS[kind][1]}.{accuracy}", width="stretch")
        open_key = f"open-{name}"
        if st.button(
            "Open in Explore",
            icon=":material/explore:",
            key=open_key,
            on_click=select_model,
            args=(info,),
            type="primary",
        ):
            _dismiss(name)
            st.switch_page("views/explore.py", query_params={})  # None would clear what widgets are bound to
        if st.button("Dismiss", icon=":material/close:", key=f"dismiss-notice-{name}"):
            _dismiss(name)
            st.rerun()


def _failed(name: str) -> None:
    kind, model = parts_of(name)
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"notice-{name}"):
        st.markdown(f":material/error: {KINDS[kind][0]} **{markdown(model)}** failed.", width="stretch")
        st.page_link("views/models.py", label="Details", icon=":material/arrow_forward:")


def _dismiss(name: str) -> None:
    store = read.store()
    jobs.forget(store, name)
    (store.root / uploads.ROOM / f"{parts_of(name)[1]}.weights").unlink(missing_ok=True)
