"""The number of prototypes per class, and what each number gives."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.claims.large import LARGEST_CLASS, NO_SUGGESTION, at_k, black_box_accuracy, has_agreement
from app.claims.suggestion import class_reason, suggested_of
from app.components.large.choice import WIDTH
from app.components.shared.figure import show_figure
from app.figures.large import Course, over_k_figure
from app.links import bound, one_of
from kmex_core.prototypes.suggestion import Evidence
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep

DEFAULT = 5
NAMED = 5  # classes whose reasons are shown


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
