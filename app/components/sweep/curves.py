"""Curves over the number of prototypes per class, computed in the background."""

from __future__ import annotations

import streamlit as st

from app import claims, read
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.job_panel import follow
from app.components.shared.summaries import stored_summaries
from app.figures.sweep import CURVES, sweep_figure
from app.selection import KS, Selection
from app.wording import ONCE_PER_MODEL
from kmex_core.analysis.tables.prototypes import sweep_table
from kmex_core.base import jobs
from kmex_core.commands.sweep import sweep_job

TOP = "sweep-top"


def wait_for_sweep(chosen: Selection) -> bool:
    """Compute what is missing in the background, showing what is there; True when there is nothing to wait for."""
    request = sweep_job(read.subject(chosen.model), KS, chosen.kmeans.seed, chosen.kmeans.k)
    job = jobs.look(read.store(), request.name)
    if job is not None and job.state == "done" and st.session_state.get("swept") == request.name:
        return True
    st.session_state["swept"] = request.name
    follow(request, "Converting for every number.", ONCE_PER_MODEL, lambda: show_curves(chosen), TOP)
    return False


def show_sweep(chosen: Selection) -> None:
    """Show what the numbers mean, the table to keep, and the curves."""
    summaries = stored_summaries(chosen)
    summary = summaries.get(chosen.kmeans.k)
    with st.container(border=True, key=TOP):
        st.markdown(claims.agreement_over_k(summaries, chosen.kmeans.k))
        st.caption(
            f"One run of k-means (seed {chosen.kmeans.seed}) for each number; another seed can give other prototypes "
            "and other numbers. Compare has several runs, with their standard deviation."
        )
        if summary is not None and summary.diversity is not None:
            st.caption(
                f"The paper's own measure of diversity (D_dvs, 0 to 1 ↓) is {summary.diversity:.4f} with "
                f"{chosen.kmeans.k} prototypes per class. {claims.diversity_over_k(summaries)} Computed with float32 "
                f"rounding, as in the paper's code, it is {summary.diversity_reference:.2f}; the paper has 0.37 to "
                "0.45 for its KMEx."
            )
        smallest = int(read.conversion(chosen).prototypes.class_size.min())
        if smallest < KS[-1]:
            st.caption(f"The smallest class has {smallest:,} training images, and never more prototypes than those.")
        show_download("Curves as CSV", sweep_table(summaries), f"{chosen.model.name}-sweep.csv")
    show_curves(chosen)


def show_curves(chosen: Selection) -> None:
    """Show the curves over what is there."""
    summaries = stored_summaries(chosen)
    if not summaries:
        return
    for pair in (("accuracy_kmex", "agreement"), ("ghosting", "effective")):
        for place, name in zip(st.columns(2, gap="medium"), pair, strict=True):
            with place:
                kind = CURVES[name].kind
                st.markdown(f"**{kind.title} {kind.arrow}**", help=kind.about)
                show_figure(
                    f"sweep-{name}",
                    sweep_figure(summaries, chosen.kmeans.k, KS, name),
                    f"{kind.title} for {len(summaries)} numbers of prototypes per class",
                )
