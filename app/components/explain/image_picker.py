"""The choice of the image to explain: a test image, a training image or one from outside.

The address names it as that of Explore does (`picture=test-3`, or the digest of a picture that the server still has,
with `framing`), or by where it comes from and its number.
"""

from __future__ import annotations

import re

import numpy as np
import streamlit as st

from app import claims, read
from app.links import bound, number_in, one_of, pick, picked
from app.selection import Selection
from kmex_core.data.registry import Split
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.types import Conversion

SOURCES = TEST, TRAINING, UPLOAD = ("Test image", "Training image", "Upload")
_OF_DATA = re.compile(r"(test|train)-(\d{1,9})", re.ASCII)


def pick_image(chosen: Selection, converted: Conversion) -> str:
    """Show the choice; returns what names the image, "" for one from outside that is not here yet."""
    _take_address()
    with st.container(horizontal=True, vertical_alignment="bottom", key="explain-choice"):
        source = st.segmented_control(
            "Image from",
            SOURCES,
            default=TEST,
            required=True,
            key="source",
            bind=bound("source", one_of(SOURCES), f"Choose one of {', '.join(SOURCES)}.", TEST),
            on_change=_forget_picture,
            width="content",
        )
        if source == UPLOAD:
            return picked("picture")
        if source == TRAINING:
            return _training_image(chosen.model)
        return _test_image(chosen, converted)


def is_upload() -> bool:
    """Whether the image comes from outside."""
    return st.session_state.get("source") == UPLOAD


def _take_address() -> None:
    """Let an address that names a picture choose it: an image of the data set by its number, any other as an upload."""
    picture = picked("picture")
    if picture == "":
        return
    match = _OF_DATA.fullmatch(picture)
    if match is None:
        st.session_state["source"] = UPLOAD
        return
    pick("picture", "")
    source, key = (TEST, "image") if match[1] == "test" else (TRAINING, "training")
    st.session_state["source"] = source
    # widgets take what the address says from the beginning of a run, which says, too, when there is no such image
    st.query_params.update({"source": source, key: match[2]})
    st.rerun()


def _forget_picture() -> None:
    pick("picture", "")
    pick("framing", "")


def _test_image(chosen: Selection, converted: Conversion) -> str:
    data = read.dataset(chosen.model)
    test = data.split("test")
    wrong = np.flatnonzero(converted.test_predicted != test.labels)
    differ = np.flatnonzero(converted.test_predicted != converted.test_black_box)
    index = _number("Test", "image", test, claims.seen_in_training(chosen.model, "test", data.fingerprint))
    _jump("Random image", np.arange(len(test)), "A random test image.")
    _jump(f"Random mistake ({len(wrong):,})", wrong, f"A random test image that {chosen.title} misclassifies.")
    if chosen.has_black_box:
        _jump(f"Random disagreement ({len(differ):,})", differ, "A random test image on which the two disagree.")
    return f"test-{index}"


def _training_image(info: ModelInfo) -> str:
    data = read.dataset(info)
    about = claims.seen_in_training(info, "train", data.fingerprint)
    return f"train-{_number('Training', 'training', data.split('train'), about)}"


def _number(kind: str, key: str, split: Split, about: str) -> int:
    most = len(split) - 1
    return int(
        st.number_input(
            f"{kind} image (0 to {most:,})",
            0,
            most,
            0,
            key=key,
            bind=bound(key, number_in(0, most), f"{kind} images are numbered 0 to {most:,}.", 0),
            width=200,
            on_change=_forget_picture,
            help=f"Position in the {kind.lower()} split. {about}",
        )
    )


def _jump(text: str, choices: np.ndarray, about: str) -> None:
    def go() -> None:
        _forget_picture()
        st.session_state["image"] = int(np.random.default_rng().choice(choices))

    st.button(text, on_click=go, disabled=len(choices) == 0, help=about, icon=":material/casino:")
