"""Curves over the number of prototypes per class, computed in the background."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import claims, read
from app.components.downloads import show_download
from app.components.figure import show_figure
from app.components.job_panel import follow
from app.figures.sweep import CURVES, sweep_figure, sweep_table
from app.selection import Selection
from app.state import KS as RANGE
from kmex_core.base import jobs
from kmex_core.prototypes.source import KMeans
from kmex_core.prototypes.types import Summary

KS = range(RANGE[0], RANGE[1] + 1)
TOP = "sweep-top"


def found_summaries(chosen: Selection) -> dict[int, Summary]:
    """The summaries that are there, by number of prototypes per class."""
    found = {k: read.summary(replace(chosen, source=KMeans(k, chosen.kmeans.seed))) for k in KS}
    return {k: one for k, one in found.items() if one is not None}


def wait_for_sweep(chosen: Selection) -> bool:
    """Compute what is missing in the background, showing what is there; True when there is nothing to wait for."""
    name = f"sweep-{read.conversion_of(replace(chosen, source=KMeans(1, chosen.kmeans.seed))).key}"
    job = jobs.look(read.store(), name)
    if job is not None and job.state == "done" and st.session_state.get("swept") == name:
        return True
    st.session_state["swept"] = name
    arguments = ["sweep", "--model", chosen.model.name, "--k", f"{KS[0]}:{KS[-1]}", "--first", str(chosen.kmeans.k)]
    follow(
        name,
        [*arguments, "--seed", str(chosen.kmeans.seed)],
        "Converting for every number.",
        "Takes seconds to minutes, once per model.",
        lambda: show_curves(chosen),
        TOP,
    )
    return False


def show_sweep(chosen: Selection) -> None:
    """Show what the numbers mean, the table to keep, and the curves."""
    found = found_summaries(chosen)
    one = found.get(chosen.kmeans.k)
    with st.container(border=True, key=TOP):
        st.markdown(claims.agreement_over_k(found, chosen.kmeans.k))
        st.caption(
            f"One run of k-means (seed {chosen.kmeans.seed}) for each number; another seed can give other prototypes "
            "and other numbers. Compare has several runs, with their standard deviation."
        )
        if one is not None and one.diversity is not None:
            st.caption(
                f"The paper's own measure of diversity (D_dvs, 0 to 1 ↓) is {one.diversity:.4f} with {chosen.kmeans.k} "
                f"prototypes per class. {claims.diversity_over_k(found)} Computed as in the paper's code, with float32 "
                f"rounding, it is {one.diversity_reference:.2f}; the paper has 0.37 to 0.45 for its KMEx."
            )
        smallest = int(read.conversion(chosen).prototypes.class_size.min())
        if smallest < KS[-1]:
            st.caption(f"The smallest class has {smallest:,} training images, and never more prototypes than those.")
        show_download("Curves as CSV", sweep_table(found), f"{chosen.model.name}-sweep.csv")
    show_curves(chosen)


def show_curves(chosen: Selection) -> None:
    """Show the curves over what is there."""
    found = found_summaries(chosen)
    if not found:
        return
    for pair in (("accuracy_kmex", "agreement"), ("ghosting", "effective")):
        for place, name in zip(st.columns(2, gap="medium"), pair, strict=True):
            with place:
                kind = CURVES[name].kind
                st.markdown(f"**{kind.title} {kind.arrow}**", help=kind.about)
                show_figure(
                    f"sweep-{name}",
                    sweep_figure(found, chosen.kmeans.k, KS, name),
                    f"{kind.title} for {len(found)} numbers of prototypes per class",
                )
