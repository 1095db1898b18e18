"""How a picture becomes the network's input, as its source says or as a person does."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.components.new.draft import OpenDraft
from app.components.shared.messages import show_error
from app.wording import message
from kmex_core.base.errors import KMExError
from kmex_core.commands._shared import number_list
from kmex_core.data.preprocessing import INTERPOLATIONS, ORDERS, RESIZES, Preprocessing
from kmex_core.stages.new_model import AUTO, IMAGENET

BY_HAND = ""  # of a draft's `preprocess`
TITLES = {AUTO: "As found", IMAGENET: "As usual for ImageNet", BY_HAND: "Edited by hand"}
RANGES = {1.0: "0 to 1", 255.0: "0 to 255"}


def show_preprocessing(opened: OpenDraft, decision: dict[str, Any]) -> None:
    """Show the preprocessing in words, and let a person change it."""
    text = next((step for step in decision["steps"] if step["title"] == "Preprocessing"), None)
    with st.container(border=True):
        given = Preprocessing.from_description(decision["preprocessing"])
        if opened.draft.preprocessing == given and opened.draft.preprocess == BY_HAND:
            st.markdown(f"**Preprocessing:** {given.words()}; edited by hand.")
        elif text is not None:
            words = f"**Preprocessing:** {message(text['text'])}"
            if text["warning"]:
                st.warning(words, icon=":material/warning:")
            else:
                st.markdown(words)

        def keep() -> None:
            chosen = st.session_state[opened.key("preprocess")]
            opened.change(preprocess=chosen, preprocessing=given if chosen == BY_HAND else None)

        st.session_state[opened.key("preprocess")] = opened.draft.preprocess
        chosen = st.selectbox(
            "Preprocessing",
            list(TITLES),
            format_func=TITLES.__getitem__,
            key=opened.key("preprocess"),
            on_change=keep,
            help="From a picture to the network's input. It is kept with the model, and used for data sets, uploads "
            "and exports alike. The next step shows pictures as the network sees them.",
        )
        if chosen == BY_HAND:
            _edit(opened, opened.draft.preprocessing or given)


def _edit(opened: OpenDraft, now: Preprocessing) -> None:
    with st.form(opened.key("preprocessing-form"), border=False):
        first, second, third = (st.container(horizontal=True, vertical_alignment="bottom") for _ in range(3))
        width = 170
        height = first.number_input("Height (pixels)", 1, 1024, now.height, width=width)
        breadth = first.number_input("Width (pixels)", 1, 1024, now.width, width=width)
        resize = first.selectbox(
            "Resize", list(RESIZES), list(RESIZES).index(now.resize), format_func=_capital(RESIZES), width=430
        )
        shorter = first.number_input(
            "Shorter side (pixels)",
            1,
            2048,
            now.shorter or max(now.height, now.width),
            width=width,
            help="Before the centre is cut out; for that way of resizing only.",
        )
        interpolation = second.selectbox(
            "Interpolation", INTERPOLATIONS, INTERPOLATIONS.index(now.interpolation), width=width
        )
        colour = second.selectbox("Colours", ("RGB", "BGR", "Grey"), _colour(now), width=width)
        white = second.selectbox(
            "Range of values",
            list(RANGES if now.white in RANGES else {**RANGES, now.white: ""}),
            list(RANGES).index(now.white) if now.white in RANGES else len(RANGES),
            format_func=lambda value: RANGES.get(value, f"0 to {value:g}"),
            width=width,
        )
        antialias = second.toggle("Antialiasing", now.antialias, help="As Pillow resizes. Off: as OpenCV does.")
        mean = third.text_input("Mean", ", ".join(f"{value:g}" for value in now.mean), width=260)
        std = third.text_input("Standard deviation", ", ".join(f"{value:g}" for value in now.std), width=260)
        if not st.form_submit_button("Use this preprocessing", icon=":material/check:"):
            return
    channels = 1 if colour == "Grey" else 3
    try:
        edited = Preprocessing(
            int(height),
            int(breadth),
            channels,
            number_list(mean),
            number_list(std),
            resize,
            int(shorter) if resize == "shorter" else 0,
            interpolation,
            antialias,
            white,
            colour if colour in ORDERS else now.order,
            max(channels, now.inputs) if now.inputs != 1 or channels == 1 else 3,
        )
    except KMExError as error:
        show_error(str(error))
        return
    if opened.change(preprocess=BY_HAND, preprocessing=edited):
        st.rerun()


def _colour(now: Preprocessing) -> int:
    return 2 if now.channels == 1 else ORDERS.index(now.order)


def _capital(texts: dict[str, str]) -> Any:
    return lambda name: texts[name][:1].upper() + texts[name][1:]
