"""Relevance maps over images, drawn in the browser: their look changes without the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import streamlit as st

from app.components.shared.web import component
from app.figures.overlay import AROUND, SCALES, Figure
from app.links import bound_to, number_in, one_of, refuse
from kmex_core.data.display import COLOURS
from kmex_core.models.info import ModelInfo
from kmex_core.relevance.catalogue import TARGETS, MapKind, TargetDescription, usable_methods

_relevance = component("relevance")


def refuse_looks() -> None:
    """Refuse what cannot be of the look that the address asks for: the browser reads it from there."""
    for name, usable, instead in (
        ("colours", one_of(COLOURS), f"Choose one of {', '.join(COLOURS)}."),
        ("opacity", number_in(0, 100), "Use a percentage, 0 to 100."),
    ):
        if (requested := st.query_params.get(name)) and not usable(requested):
            refuse(name, requested, instead)


def show_look(key: str) -> None:
    """Show the controls of all maps, opacity and colours, and what the colours mean."""
    refuse_looks()
    _relevance(key=key, data={"scales": SCALES})


def usable_targets(info: ModelInfo) -> dict[str, TargetDescription]:
    """What relevance maps of a model can explain, by name: an encoder has no score."""
    return {name: target for name, target in TARGETS.items() if name != "score" or info.predicts}


def choose_maps(info: ModelInfo) -> MapKind:
    """Show the choice of what a model's relevance maps explain, and how: an encoder has no score to explain, and
    without gradients there are fewer methods."""
    described = usable_targets(info)
    targets = {name: target.title for name, target in described.items()}
    usable = usable_methods(info.differentiable)
    methods = {name: method.title for name, method in usable.items()}
    target = st.selectbox(
        "Explained number",
        list(targets),
        format_func=targets.__getitem__,
        key="target",
        width=260,
        bind=bound_to("target", targets, info.default_maps.target),
        help="What the relevance of the pixels adds up to.  \n"
        + "  \n".join(f"{target.title}: {target.about}" for target in described.values()),
    )
    method = st.selectbox(
        "Relevance method",
        list(methods),
        format_func=methods.__getitem__,
        key="method",
        width=340,
        bind=bound_to("method", methods, info.default_maps.method),
        help="  \n".join(f"{method.title}: {method.about}" for method in usable.values()),
    )
    return MapKind(target, method)


def show_figures(key: str, figures: Sequence[Figure], columns: int) -> None:
    """Show pictures and maps beside each other.

    Args:
        key: what names these figures on their page.
        figures: what to show.
        columns: in how many columns (two at most on a phone).
    """
    _relevance(
        key=key,
        data={
            "scales": SCALES,
            "columns": columns,
            "frame": AROUND,
            "figures": [asdict(figure) for figure in figures],
        },
    )
