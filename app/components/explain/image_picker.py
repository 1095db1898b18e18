"""The choice of the image to explain: a test image, a training image or an upload."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app import claims, read
from app.components.explain.framing import choose_framing
from app.components.shared.messages import show_error, upload_limit
from app.links import bound, number_in, one_of
from app.selection import Selection
from app.wording import message
from kmex_core.base.errors import InputError
from kmex_core.data.framing import framed
from kmex_core.data.pictures import FORMATS_TEXT, MAX_BYTES, SUFFIXES
from kmex_core.data.registry import Split
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.types import Conversion

SOURCES = ("Test image", "Training image", "Upload")


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
    source = st.segmented_control(
        "Image from",
        SOURCES,
        default=SOURCES[0],
        required=True,
        key="source",
        bind=bound("source", one_of(SOURCES), f"Choose one of {', '.join(SOURCES)}.", SOURCES[0]),
    )
    if source == SOURCES[2]:
        return _upload(chosen.model)
    if source == SOURCES[1]:
        return _training_image(chosen.model)
    return _test_image(chosen, converted)


def _test_image(chosen: Selection, converted: Conversion) -> Picked:
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
    return Picked(f"test-{index}", f"Test image {index}", test.image(index), int(test.labels[index]))


def _training_image(info: ModelInfo) -> Picked:
    data = read.dataset(info)
    train = data.split("train")
    index = _number("Training", "training", train, claims.seen_in_training(info, "train", data.fingerprint))
    return Picked(f"train-{index}", f"Training image {index}", train.image(index), int(train.labels[index]))


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
            help=f"Position in the {kind.lower()} split. {about}",
        )
    )


def _jump(text: str, choices: np.ndarray, about: str) -> None:
    def go() -> None:
        st.session_state["image"] = int(np.random.default_rng().choice(choices))

    st.button(text, on_click=go, disabled=len(choices) == 0, help=about, icon=":material/casino:")


def _upload(info: ModelInfo) -> Picked | None:
    most = upload_limit(MAX_BYTES // 2**20)
    file = st.file_uploader(
        f"Image file ({FORMATS_TEXT}, up to {most} MB)",
        type=list(SUFFIXES),
        key="upload",
        max_upload_size=most,
        help="Any size and colour mode; the image is scaled to the network's input. The server keeps it in "
        "memory only.",
    )
    if file is None:
        st.info("Choose an image file, or drop one on the field above.", icon=":material/upload:")
        return None
    content = file.getvalue()
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        picture = read.picture(digest, content, f"'{file.name}'")
    except InputError as error:
        show_error(str(error), ":material/broken_image:")
        return None
    for note in picture.notes:
        st.caption(f":material/info: {message(note)}")
    framing = choose_framing(info, picture.pixels, digest)
    return Picked(f"upload-{digest}-{framing}", file.name, framed(picture.pixels, framing))
