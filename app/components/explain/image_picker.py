"""The choice of the image to explain: a test image, a training image or an upload.

The address names it as that of Explore does (`picture=test-3`, or the digest of an upload that the server still has,
with `framing`), or by where it comes from and its number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app import claims, read
from app.components.explain.framing import choose_framing
from app.components.shared.messages import show_error, upload_limit
from app.links import bound, number_in, one_of, pick, picked
from app.selection import Selection
from app.wording import message
from app.workspace.pictures import Shown, keep_picture, picture_of
from kmex_core.base.errors import InputError
from kmex_core.data.framing import framed
from kmex_core.data.pictures import FORMATS_TEXT, MAX_BYTES, SUFFIXES
from kmex_core.data.registry import Split
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.types import Conversion

SOURCES = TEST, TRAINING, UPLOAD = ("Test image", "Training image", "Upload")
_OF_DATA = re.compile(r"(test|train)-(\d{1,9})", re.ASCII)


@dataclass(frozen=True, eq=False)
class Picked:
    """An image to explain.

    Attributes:
        name: what names it in a read.
        title: what to call it on the page.
        pixels: (H, W) or (H, W, 3) uint8.
        label: its true class, None when unknown.
    """

    name: str
    title: str
    pixels: np.ndarray
    label: int | None = None


def pick_image(chosen: Selection, converted: Conversion) -> Picked | None:
    """Show the choice; None while nothing can be explained (a message says why)."""
    _take_address()
    source = st.segmented_control(
        "Image from",
        SOURCES,
        default=TEST,
        required=True,
        key="source",
        bind=bound("source", one_of(SOURCES), f"Choose one of {', '.join(SOURCES)}.", TEST),
        on_change=_forget_picture,
    )
    if source == UPLOAD:
        found = _upload(chosen)
    elif source == TRAINING:
        found = _training_image(chosen.model)
    else:
        found = _test_image(chosen, converted)
    if found is None:
        return None
    for note in found.notes:
        st.caption(f":material/info: {message(note)}")
    with st.expander(
        "Crop, rotate, invert", icon=":material/crop:", expanded=source == UPLOAD or picked("framing") != ""
    ):
        framing = choose_framing(chosen.model, found.pixels, found.picture)
    name = "-".join(part for part in (found.picture, framing.text) if part)
    return Picked(name, found.title, framed(found.pixels, framing), found.label)


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


def _test_image(chosen: Selection, converted: Conversion) -> Shown:
    data = read.dataset(chosen.model)
    test = data.split("test")
    wrong = np.flatnonzero(converted.test_predicted != test.labels)
    differ = np.flatnonzero(converted.test_predicted != converted.test_black_box)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        index = _number("Test", "image", test, claims.seen_in_training(chosen.model, "test", data.fingerprint))
        _jump("Random image", np.arange(len(test)), "A random test image.")
        _jump(
            f"Random mistake ({len(wrong):,})",
            wrong,
            f"A random test image that {chosen.title} misclassifies.",
        )
        if chosen.has_black_box:
            _jump(
                f"Random disagreement ({len(differ):,})",
                differ,
                "A random test image on which the two disagree.",
            )
    return picture_of(data, f"test-{index}")


def _training_image(info: ModelInfo) -> Shown:
    data = read.dataset(info)
    train = data.split("train")
    index = _number("Training", "training", train, claims.seen_in_training(info, "train", data.fingerprint))
    return picture_of(data, f"train-{index}")


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
            width=220,
            on_change=_forget_picture,
            help=f"Position in the {kind.lower()} split. {about}",
        )
    )


def _jump(text: str, choices: np.ndarray, about: str) -> None:
    def go() -> None:
        _forget_picture()
        st.session_state["image"] = int(np.random.default_rng().choice(choices))

    st.button(text, on_click=go, disabled=len(choices) == 0, help=about, icon=":material/casino:")


def _upload(chosen: Selection) -> Shown | None:
    most = upload_limit(MAX_BYTES // 2**20)
    file = st.file_uploader(
        f"Image file ({FORMATS_TEXT}, up to {most} MB)",
        type=list(SUFFIXES),
        key="upload",
        max_upload_size=most,
        on_change=_forget_picture,
        help="Any size and colour mode; the image is scaled to the network's input. The server keeps it in "
        "memory only.",
    )
    try:
        if file is not None:
            shown = keep_picture(file.getvalue(), file.name)
            pick("picture", shown.picture)
            return shown
        if named := picked("picture"):
            return picture_of(read.dataset(chosen.model), named)
    except InputError as error:
        show_error(str(error), ":material/broken_image:")
        return None
    st.info("Choose an image file, or drop one on the field above.", icon=":material/upload:")
    return None
