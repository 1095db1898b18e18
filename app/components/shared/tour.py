"""The guided tour of the page Explore: a card beside each part of it in turn."""

from __future__ import annotations

import streamlit as st

from app.components.shared.web import component

_tour = component("tour")
_ASKED = "_tour"  # in the session: how often the tour was asked for

# a part of the page by a CSS selector, a title, and what one does there; nothing here claims anything about the data
STEPS = (
    (
        ".kx-map-view",
        "The map",
        "Each dot is an image; images that the network sees as similar are close together. Each square is a prototype, "
        "sized by the share of its class that it stands for.",
    ),
    (
        ".kx-panel",
        "The prototypes",
        "A prototype is shown by the training image nearest to it. Click one for the images that it attracts, its "
        "mistakes and its nearest rival.",
    ),
    (
        ".kx-timeline",
        "How many prototypes",
        "Drag to change the number of prototypes per class: map and pictures follow at once. The curves tell what each "
        "further prototype buys.",
    ),
    (
        ".kx-drop-button",
        "Your picture",
        "Drop, paste or pick a picture. It takes its place on the map, and the panel shows which prototypes it looks "
        "like, and why it is this class and not another one.",
    ),
    (
        ".kx-panel-edit",
        "Edit",
        "Hide, move, merge, split, add or name prototypes, and see at once what that does to the scores. Save the "
        "result as a version, with its history.",
    ),
    (
        "[data-testid=stSidebarNav] a[href$=audit]",
        "Audit",
        "The other pages go deeper: Audit measures what the explanations are worth, and Attributes finds the groups of "
        "images on which predictions fail.",
    ),
)


def begin_tour() -> None:
    """Start the tour where `show_tour` is next shown, even for those who have closed it before."""
    st.session_state[_ASKED] = st.session_state.get(_ASKED, 0) + 1


def show_tour() -> None:
    """Show the button that starts the tour; who has not closed it in this browser before is offered it."""
    _tour(
        key="tour",
        data={
            "asked": st.session_state.get(_ASKED, 0),
            "steps": [{"selector": selector, "title": title, "text": text} for selector, title, text in STEPS],
        },
        width="content",
        height="content",
    )
