"""What each number of prototypes per class gives, as curves."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.claims.large import LARGEST_CLASS, NO_SUGGESTION, black_box_accuracy, has_agreement
from app.claims.suggestion import class_reason, suggested_of
from app.components.shared.figure import show_figure
from app.figures.large import Course, over_k_figure
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep

NAMED = 5  # classes whose reasons are shown


def show_suggestion(embedding: ShardedEmbedding, evidence: Evidence | None, classes: Sequence[int] | None) -> None:
    """Say which number the classes suggest, and why each of those that are chosen does.

    Args:
        embedding: which one.
        evidence: on its classes; None while there is none.
        classes: the chosen ones; None for all. Of many, the first are named.
    """
    if evidence is None:
        st.caption(NO_SUGGESTION)
        return
    st.markdown(suggested_of(evidence, embedding.counts))
    for label in (classes or ())[:NAMED]:
        st.markdown(class_reason(evidence, embedding.class_names, label))


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
