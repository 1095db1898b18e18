"""A predicate as a headline: its name, how it compares with chance, and a sentence."""

from __future__ import annotations

from typing import Literal, NamedTuple

import streamlit as st

from app.claims.audit import Headline
from app.components.shared.notes import marked
from app.wording import message

Colour = Literal["green", "grey", "orange"]


class Look(NamedTuple):
    """How a verdict is shown: in colour and by an icon."""

    colour: Colour
    icon: str


LOOKS = {
    "good": Look("green", ":material/check_circle:"),
    "open": Look("grey", ":material/remove_circle:"),
    "bad": Look("orange", ":material/error:"),
}


def show_headline(predicate: str, question: str, *headlines: Headline | None, caveat: str = "") -> None:
    """Show a predicate and what the data say of it.

    Args:
        predicate: its name.
        question: that it asks.
        headlines: what the data say; None for what cannot be said.
        caveat: why the numbers may be too good, "" for no reason.
    """
    shown = [headline for headline in headlines if headline is not None]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.header(marked(predicate, caveat), anchor=False, width="content")
        for headline in shown:
            look = LOOKS[headline.tone]
            st.badge(headline.verdict, icon=look.icon, color=look.colour)
    st.caption(question)
    for headline in shown:
        st.markdown(headline.text)
        if headline.chance:
            st.caption(headline.chance)
    if caveat:
        st.caption(message(caveat))
