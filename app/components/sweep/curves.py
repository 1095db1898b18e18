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
    """Compute missing conversions in the background and show the others; True when there is nothing to wait for."""
    request = sweep_job(read.subject(chosen.model), KS, chosen.kmeans)
    job = jobs.look(read.store(), request.name)
    if job is not None and job.state == "done" and st.session_state.get("swept") == request.name:
        return True
    st.session_state["swept"] = request.name
    follow(request, "Converting for 1 to 20 prototypes per class.", ONCE_PER_MODEL, lambda: show_curves(chosen), TOP)
    return False


def show_sweep(chosen: Selection) -> None:
    """Show what the numbers mean, the download, and the curves."""
    summaries = stored_summaries(chosen)
    summary = summaries.get(chosen.kmeans.k)
    with st.container(border=True, key=TOP):
        st.markdown(claims.agreement_over_k(summaries, chosen.kmeans.k))
        st.caption(
            f"One run of k-means (seed {chosen.kmeans.seed}) per number; another seed can give other prototypes and "
            "values. "
            "The page Compare has several runs with standard deviations."
        )
        if summary is not None:
            st.caption(claims.effective_number(summary, chosen.kmeans.k))
        if summary is not None and summary.diversity is not None:
            st.caption(
                f"The paper's diversity (D_dvs, 0 to 1 ↓) is {summary.diversity:.4f} with {chosen.kmeans.k} prototypes "
                "per "
                f"class. {claims.diversity_over_k(summaries)} With float32 rounding, as in the paper's code, it is "
                f"{summary.diversity_reference:.2f}; the paper reports 0.37 to 0.45 for KMEx."
            )
        smallest = int(read.conversion(chosen).prototypes.class_size.min())
        if smallest < KS[-1]:
            st.caption(f"The smallest class has {smallest:,} training images, and so at most as many prototypes.")
        show_download("Curves as CSV", sweep_table(summaries), f"{chosen.model.name}-sweep.csv")
    show_curves(chosen)


def show_curves(chosen: Selection) -> None:
    """Show the curves over the stored summaries."""
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
