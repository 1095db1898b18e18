"""Converting a draft to a model of the store, and where to go from there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from app import read
from app.components.new.decision import request_of
from app.components.new.draft import OpenDraft
from app.components.shared.job_panel import watch
from app.components.shared.making import is_being_made, is_made
from app.components.shared.messages import show_error
from app.state import select_model
from app.wording import MEANWHILE
from kmex_core.base import jobs
from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.plain_text import markdown
from kmex_core.base.store import checked_name
from kmex_core.commands.new import default_name, new_job
from kmex_core.commands.requests import JobRequest
from kmex_core.models import catalogue
from kmex_core.prototypes.source import SUGGESTED

MOST_K = 50
NAMED = "Use letters, digits, dots, dashes and underscores."


def show_converting(opened: OpenDraft) -> None:
    """Show the form that converts, the progress, or the model that came of it."""
    try:
        request = _request(opened)
    except KMExError as error:
        show_error(str(error))
        return
    if opened.draft.name:
        job = jobs.look(read.store(), request.name)
        ours = job is not None and job.arguments == request.arguments
        made = is_made(request.name, job) if job is not None and ours else _is_there(opened)
        if made:
            _show_model(opened.draft.name)
            with st.expander("Convert it under another name"):
                _choose(opened)
            return
        if job is not None and ours:
            watch(request, f"**Converting {markdown(opened.draft.name)}.** {MEANWHILE}")
            if job.state == "running":
                return
    _choose(opened)


def _is_there(opened: OpenDraft) -> bool:
    """Whether the store has a model of this name, network and images, whose job nobody remembers any more."""
    info = next((info for info in read.models() if info.name == opened.draft.name), None)
    asked = request_of(opened)
    return info is not None and (info.backbone, info.dataset) == (asked.model, asked.images.name)


def _request(opened: OpenDraft) -> JobRequest:
    request = request_of(opened, opened.draft.name)
    return new_job(request, opened.draft.k)


def _choose(opened: OpenDraft) -> None:
    draft = opened.draft
    with st.form("new-convert", border=False):
        row = st.container(horizontal=True, vertical_alignment="bottom")
        name = row.text_input(
            "Name", _free_name(draft.name or default_name(draft.model)), max_chars=50, help=NAMED, width=300
        )
        k = row.number_input(
            "Prototypes per class",
            1,
            MOST_K,
            5 if draft.k == SUGGESTED else min(draft.k, MOST_K),
            width=190,
            help="You can change it at any time on every page.",
        )
        auto = row.toggle(
            "Suggested number per class",
            draft.k == SUGGESTED,
            help="Gives each class the number that its training images suggest. It takes a sweep over all numbers.",
        )
        if not st.form_submit_button("Convert", icon=":material/play_arrow:", type="primary"):
            return
    try:
        catalogue.check_free(read.store(), checked_name(name))
        if is_being_made(name):
            raise InputError(f"A model named '{name}' is being made. Choose another name, or stop that job first.")
    except KMExError as error:
        show_error(str(error))
        return
    if opened.change(name=name, k=SUGGESTED if auto else int(k)):
        changed = replace(opened, draft=replace(draft, name=name, k=SUGGESTED if auto else int(k)))
        request = _request(changed)
        jobs.start(read.store(), request.name, request.arguments)
        st.rerun()


def _free_name(name: str) -> str:
    """This name, or one like it that is not taken."""
    taken = set(catalogue.known_names(read.store()))
    return next(name for name in (name, *(f"{name[:46]}-{number}" for number in range(2, 999))) if name not in taken)


def _show_model(name: str) -> None:
    info = next((info for info in read.models() if info.name == name), None)
    if info is None:
        st.info(f"**{markdown(name)}** was converted, and is no longer in the store.")
        return
    st.success(f"**{markdown(name)}** is in the store. Every page can show it now.", icon=":material/check_circle:")
    select = partial(select_model, info)
    with st.container(horizontal=True):
        if st.button("Open in Explore", icon=":material/explore:", type="primary", on_click=select):
            st.switch_page("views/explore.py", query_params={})  # None would clear what widgets are bound to
        if st.button("Explain an image of yours", icon=":material/image_search:", on_click=select):
            st.switch_page("views/explain.py", query_params={"source": "Upload"})
