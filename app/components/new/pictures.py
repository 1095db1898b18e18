"""Pictures as they are, beside what the network sees of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from app.components.new.draft import OpenDraft
from app.components.new.report import open_images
from kmex_core.base.plain_text import markdown
from kmex_core.data.display import displayed, reduced
from kmex_core.data.preprocessing import Preprocessing

SIDE, GAP = 120, 8  # pixels


def show_pictures(opened: OpenDraft, report: dict[str, Any], decision: dict[str, Any]) -> None:
    """Show the examples of a decision before and after the preprocessing, without mean and deviation."""
    data = open_images(opened, report)
    if data is None:
        return
    preprocessing = Preprocessing.from_description(decision["preprocessing"])
    split, rows = decision["examples"]["split"], decision["examples"]["rows"]
    if split not in data.splits or not all(0 <= row < len(data.split(split)) for row in rows):
        return
    st.subheader(
        "As the network sees them",
        help="Left: a held-out image. Right: the same after resizing, cropping and colour, before its values are "
        "scaled by mean and standard deviation.",
    )
    st.caption(f"Left: held-out images as they are. Right: {preprocessing.words()}.")
    seen = data.pixels(split, rows, preprocessing).permute(0, 2, 3, 1).numpy()
    labels = data.split(split).labels
    with st.container(horizontal=True, key="new-pictures"):
        for row, pixels in zip(rows, seen, strict=True):
            name = data.class_names[labels[row]]
            st.image(
                _beside(data.split(split).image(row), pixels),
                caption=markdown(name),
                output_format="PNG",
                width="content",
                alt=f"Held-out image {row} of {name}, and what the network sees of it",
            )


def _beside(*pictures: np.ndarray) -> np.ndarray:
    """Pictures in a row as (H, W, 4) uint8, transparent around them."""
    shown = [reduced(displayed(picture, SIDE), SIDE) for picture in pictures]  # the longer side is `SIDE`
    height = max(picture.shape[0] for picture in shown)
    width = sum(picture.shape[1] for picture in shown) + GAP * (len(shown) - 1)
    canvas, left = np.zeros((height, width, 4), dtype=np.uint8), 0
    for picture in shown:
        top = (height - picture.shape[0]) // 2
        place = canvas[top : top + picture.shape[0], left : left + picture.shape[1]]
        place[..., :3], place[..., 3] = picture, 255
        left += picture.shape[1] + GAP
    return canvas
