"""The metric of the embedding: what it is, why, and what each one reaches."""

from __future__ import annotations

import streamlit as st

from app import claims, read
from app.selection import Selection
from app.wording import interval
from kmex_core.metrics import wilson_interval
from kmex_core.prototypes.metric_choice import K
from kmex_core.prototypes.types import Conversion

WIDTH = 200


def show_metric(chosen: Selection, converted: Conversion) -> None:
    """Show the accuracy in the whitened and in the published metric beside a linear probe and any black box."""
    geometry = read.result(read.subject(chosen.model).geometry())
    accuracy, images = geometry.accuracy, converted.summary.images
    with st.expander(f"Metric: {converted.metric.name}", expanded=True, icon=":material/straighten:"):
        st.markdown(claims.metric_choice(geometry, converted.metric.name))
        if words := claims.below_black_box(geometry, converted.summary):
            st.info(words, icon=":material/lightbulb:")
        row = st.container(horizontal=True)
        for title, value, about in (
            *((("Black box", accuracy["black_box"], "the original network"),) if chosen.has_black_box else ()),
            (f"KMEx, whitened, k = {K}", accuracy["whitened"], f"KMEx with {K} prototypes per class, whitened"),
            (f"KMEx, Euclidean, k = {K}", accuracy["euclidean"], f"KMEx with {K} per class, as published"),
            (
                "Linear probe",
                geometry.probe,
                "logistic regression on the embedding (cross-validated)",
            ),
        ):
            row.metric(
                f"{title} ↑",
                f"{value:.1%}",
                help=f"Share of {images:,} test images that are classified correctly by {about}. Higher is better. "
                f"{interval(*wilson_interval(value, images))}",
                border=True,
                width=WIDTH,
            )
        st.caption(
            f"Variance of the embedding within the classes, relative to that between them: {geometry.separation:.2f} "
            "(lower is more separated; 0 when each class is one point). Shrinkage of the covariance: "
            f"{geometry.whitened.shrinkage:.3f} (0 none, 1 Euclidean)."
        )
