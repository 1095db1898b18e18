"""KMEx beside its black box, or a prototypical model on its own, in a few numbers."""

from __future__ import annotations

import streamlit as st

from app import claims, read
from app.components.shared.notes import marked
from app.selection import Selection
from app.wording import GHOST, interval
from kmex_core.metrics import wilson_interval
from kmex_core.prototypes.types import Conversion, Summary

WIDTH = 222


def show_summary(chosen: Selection, converted: Conversion) -> None:
    """Show accuracies, agreement and ghosting, each with its direction and what it means."""
    summary, prototypes = converted.summary, len(converted.prototypes)
    caveat = chosen.model.caveat
    row = st.container(horizontal=True)
    if summary.accuracy_black_box is not None:
        _show_network(row, chosen, summary, summary.accuracy_black_box)
    if chosen.is_kmex:
        beside = None
        if chosen.has_black_box:
            labels = read.dataset(chosen.model).split("test").labels
            beside = claims.difference(converted.test_predicted, converted.test_black_box, labels)
        _show_kmex(row, summary, beside, caveat)
    row.metric(
        "Ghost prototypes ↓",
        f"{summary.ghosting:.1%}",
        f"{round(summary.ghosting * prototypes)} of {prototypes}",
        delta_color="off",
        delta_arrow="off",
        help=f"Share of prototypes that are ghosts. {GHOST} Lower is better.",
        border=True,
        width=WIDTH,
    )


def _show_network(row: st.delta_generator.DeltaGenerator, chosen: Selection, summary: Summary, accuracy: float) -> None:
    """The accuracy of the black box, or of a model with built-in prototypes."""
    images, caveat = f"{summary.images:,} test images", chosen.model.caveat
    row.metric(
        marked(f"{'Black box' if chosen.has_black_box else chosen.title} accuracy ↑", caveat),
        f"{accuracy:.1%}",
        images,
        delta_color="off",
        delta_arrow="off",
        help=f"Share of {images} that the original network classifies correctly. Higher is better. "
        f"{_interval(accuracy, summary.images)} {caveat}",
        border=True,
        width=WIDTH,
    )


def _show_kmex(
    row: st.delta_generator.DeltaGenerator, summary: Summary, beside: claims.Difference | None, caveat: str
) -> None:
    """The accuracy of KMEx; with a black box the difference from it, and the agreement of the two."""
    images = f"{summary.images:,} test images"
    row.metric(
        marked("KMEx accuracy ↑", caveat),
        f"{summary.accuracy_kmex:.1%}",
        beside.text if beside else images,
        delta_color="normal" if beside and beside.beyond_chance else "off",
        delta_arrow="auto" if beside and beside.beyond_chance else "off",
        help=f"Share of {images} whose nearest prototype has the correct class"
        + (
            f", and the difference from the black box, in colour if it is significant: {beside.about} "
            if beside
            else ". "
        )
        + f"Higher is better. {_interval(summary.accuracy_kmex, summary.images)} {caveat}",
        border=True,
        width=WIDTH,
    )
    if summary.agreement is None:
        return
    row.metric(
        marked("Agreement ↑", caveat),
        f"{summary.agreement:.1%}",
        f"differ on {round((1 - summary.agreement) * summary.images):,} images",
        delta_color="off",
        delta_arrow="off",
        help=f"Share of {images} for which KMEx and the black box predict the same class, correct or not (fidelity). "
        "Higher "
        f"is better. {_interval(summary.agreement, summary.images)} {caveat}",
        border=True,
        width=WIDTH,
    )


def _interval(share: float, count: int) -> str:
    return interval(*wilson_interval(share, count))
