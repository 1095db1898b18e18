"""KMEx beside its black box, in four numbers."""

from __future__ import annotations

import streamlit as st

from kmex_core.results import Summary


def show_summary(summary: Summary, prototypes: int) -> None:
    """Show accuracies, agreement and ghosting, each with its direction and what it means."""
    images = f"{summary.images:,} test images"
    columns = st.columns(4)
    columns[0].metric(
        "Black box accuracy ↑",
        f"{summary.accuracy_black_box:.1%}",
        images,
        delta_color="off",
        delta_arrow="off",
        help=f"Share of {images} that the original network classifies correctly. Higher is better.",
        border=True,
    )
    difference = (summary.accuracy_kmex - summary.accuracy_black_box) * 100
    columns[1].metric(
        "KMEx accuracy ↑",
        f"{summary.accuracy_kmex:.1%}",
        f"{difference:+.1f} points" if round(difference, 1) else "the same",
        delta_color="normal" if round(difference, 1) else "off",
        help=f"Share of {images} whose nearest prototype has the right class, and the difference from the black box. "
        "Higher is better.",
        border=True,
    )
    columns[2].metric(
        "Agreement ↑",
        f"{summary.agreement:.1%}",
        f"differ on {round((1 - summary.agreement) * summary.images):,} images",
        delta_color="off",
        delta_arrow="off",
        help=f"Share of {images} for which KMEx and the black box predict the same class, right or wrong. Higher means "
        "that KMEx stands in more faithfully for the black box.",
        border=True,
    )
    columns[3].metric(
        "Ghost prototypes ↓",
        f"{summary.ghosting:.0%}",
        f"{round(summary.ghosting * prototypes)} of {prototypes}",
        delta_color="off",
        delta_arrow="off",
        help="Share of prototypes that no training image of their own class has as its nearest: they take part in no "
        "decision on the training images. Lower is better.",
        border=True,
    )
