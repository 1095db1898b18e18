"""Transparency and diversity of the prototypes: does each take part, and do those of a class differ?"""

from __future__ import annotations

import streamlit as st

from app import claims, read
from app.claims import audit
from app.components.audit.headline import show_headline
from app.components.audit.numbers import show_numbers
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.figures.evaluation import effective_figure, shares_figure
from app.selection import Selection
from kmex_core.analysis.tables.evaluation import shares_table
from kmex_core.metrics.catalogue import DIVERSITY, TRANSPARENCY
from kmex_core.metrics.types import Evaluation

MOST_CLASSES = 40


def show_transparency(chosen: Selection, evaluation: Evaluation) -> None:
    """Show how many prototypes are ghosts, and how the training images of each class are shared among the others."""
    info, conversion = chosen.model, read.conversion(chosen)
    table = shares_table(conversion.prototypes, info.class_names)
    headline = audit.ghosts(int(table["ghost"].sum()), len(table), conversion.summary.effective is not None)
    show_headline(TRANSPARENCY, "Does every prototype take part in decisions?", headline)
    with st.expander("Numbers and shares", icon=":material/tag:"):
        show_numbers(evaluation, TRANSPARENCY)
        st.caption(
            "Each segment is a prototype: the share of its class's training images that it is the nearest prototype "
            "of. The rest, up to 100%, is nearest to prototypes of other classes. A diamond is a ghost."
        )
        by_class = table.groupby("class", sort=False)
        shown = by_class["ghost"].sum().sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]
        if by_class.ngroups > MOST_CLASSES:
            st.caption(f"The {MOST_CLASSES} of {by_class.ngroups} classes with the most ghosts; the CSV has all.")
        figure = shares_figure(table[table["class"].isin(shown)])
        show_figure("shares", figure, "Share of training images per prototype")
        show_download("Shares as CSV", table, f"{info.name}-prototypes-{chosen.source.slug}.csv")


def show_diversity(chosen: Selection, evaluation: Evaluation) -> None:
    """Show the effective number beside its chance band, and how to compare diversity with the paper."""
    conversion = read.conversion(chosen)
    summary, per_class = conversion.summary, len(conversion.prototypes) / len(chosen.model.class_names)
    headline = audit.diversity(summary, per_class, chosen.is_kmex)
    show_headline(DIVERSITY, "Do the prototypes of a class show different things?", headline)
    if summary.effective is not None and per_class > 1:
        show_figure(
            "effective",
            effective_figure(summary, per_class),
            "Effective number of prototypes, and that of random images",
        )
    with st.expander("Numbers", icon=":material/tag:"):
        show_numbers(evaluation, DIVERSITY)
        sweeps = list(read.sweeps(chosen).values()) if chosen.is_kmex else []
        st.caption(
            "The paper's D_dvs is a softmax over the similarities between prototypes. The published values (0.37 to "
            "0.45 for KMEx) depend on float32 rounding, which keeps the distance of a prototype to itself above 0, so "
            f"compare them with *D_dvs as published* only. {claims.diversity_over_k(sweeps[0]) if sweeps else ''}"
        )
