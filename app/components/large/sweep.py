"""What each number of prototypes per class gives, as curves."""

from __future__ import annotations

import streamlit as st

from app.claims.large import LARGEST_CLASS, black_box_accuracy, has_agreement
from app.components.shared.figure import show_figure
from app.figures.large import Course, over_k_figure
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep


def show_curves(embedding: ShardedEmbedding, sweep: ShardedSweep) -> None:
    """Show what every number gives, beside chance and the black box."""
    st.header("What each number gives", anchor=False)
    beside = {LARGEST_CLASS: float(embedding.counts.max()) / embedding.rows}
    if (right := black_box_accuracy(sweep, None)) is not None:
        beside = {"Black box": right, **beside}
    images, ks = "Images (%)", sweep.ks
    shown = {"Accuracy ↑": Course(ks, sweep.accuracy, images, beside)}
    if has_agreement(sweep):
        shown["Agreement ↑"] = Course(ks, sweep.agreement, images)
    equidistant = {"Equidistant groups": sweep.effective_equidistant}
    shown["Effective number ↑"] = Course(
        ks, sweep.effective, "Prototypes per class", equidistant, sweep.effective_random[:, 1:], percent=False
    )
    shown["Ghost prototypes ↓"] = Course(ks, sweep.ghosting, "Prototypes (%)")
    columns = st.columns(2, gap="medium")
    for number, (title, course) in enumerate(shown.items()):
        with columns[number % 2]:
            st.markdown(f"**{title}**")
            show_figure(f"large-{number}", over_k_figure(course), f"{title[:-2]} by prototypes per class")
