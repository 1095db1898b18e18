"""Step 2 of the page New: which network, its head, its classes and its preprocessing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.components.new.classes import show_classes
from app.components.new.decision import decision_of, earlier_decision
from app.components.new.draft import OpenDraft, go_on
from app.components.new.images import report_of
from app.components.new.preprocessing import show_preprocessing
from app.components.new.source import choose_network
from app.wording import message
from kmex_core.stages.new_model import NONE

FOUND = ""  # of the head: what running the network finds


def show_model(opened: OpenDraft) -> None:
    """Show step 2."""
    report = report_of(opened)
    if report is None:
        return
    st.header("Your network")
    choose_network(opened)
    if not opened.draft.model:
        return
    now = decision_of(opened, report)
    decision = now or earlier_decision(opened)
    if decision is None:
        return
    st.header("What was found")
    if now is None:
        st.caption("This is what was found with the settings before. Change what does not fit.")
    _show_step(decision, "Network")
    show_head(opened, decision)
    show_classes(opened, decision)
    show_preprocessing(opened, decision)
    if now is not None:
        go_on("check", "Continue with the check")


def show_head(opened: OpenDraft, decision: dict[str, Any]) -> None:
    """Show which layer is the head, and let a person name another."""
    with st.container(border=True):
        _show_step(decision, "Head")
        keep = opened.follow_field("head", classes=())
        layers = [FOUND, NONE, *decision["layers"]]
        if opened.draft.head not in layers:
            layers.append(opened.draft.head)
        st.selectbox(
            "Head",
            layers,
            format_func=lambda name: {
                FOUND: "Found by running the network",
                NONE: "None: its output is the embedding",
            }.get(name, name),
            key=opened.key("head"),
            on_change=keep,
            accept_new_options=True,
            help="The layer that turns the embedding into class scores. KMEx keeps everything before it. The list has "
            "the last layers that could be it; you can type the name of any other.",
        )


def _show_step(decision: dict[str, Any], title: str) -> None:
    for step in decision["steps"]:
        if step["title"] == title:
            text = f"**{title}:** {message(step['text'])}"
            if step["warning"]:
                st.warning(text, icon=":material/warning:")
            else:
                st.markdown(text)
