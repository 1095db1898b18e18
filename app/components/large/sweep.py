"""The number of prototypes per class, and what each number gives."""

from __future__ import annotations

import streamlit as st

from app.claims.large import LARGEST_CLASS, at_k, black_box_accuracy, has_agreement
from app.components.large.choice import WIDTH
from app.components.shared.figure import show_figure
from app.figures.large import Course, over_k_figure
from app.links import bound, one_of
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep

DEFAULT = 5


def choose_k(sweep: ShardedSweep) -> int:
    """Show the choice of a number: all were computed, so it looks them up."""
    ks = sweep.ks.tolist()
    usual = min(ks, key=lambda k: abs(k - DEFAULT))
    if len(ks) == 1:
        return int(usual)
    return int(
        st.select_slider(
            "Prototypes per class",
            ks,
            usual,
            key="per_class",
            bind=bound("per_class", one_of(ks), f"Choose {ks[0]} to {ks[-1]} per class.", usual),
            width=WIDTH,
        )
    )


def show_at_k(sweep: ShardedSweep, k: int) -> None:
    """Say how well the chosen number does."""
    st.markdown(at_k(sweep, k))


def show_curves(embedding: ShardedEmbedding, sweep: ShardedSweep, k: int) -> None:
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
            show_figure(f"large-{number}", over_k_figure(course, k), f"{title[:-2]} by prototypes per class")
