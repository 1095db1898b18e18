"""Every number of prototypes per class: what is missing is computed, here or by a job; the curves with their bands."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import claims, read
from app.claims.curves import lines_and_bands
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.job_panel import follow, offer
from app.components.shared.sweeps import compute_sweeps, computed_here
from app.figures.curves import CURVES
from app.figures.sweep import sweep_figure
from app.selection import KS, SWEEP_SEEDS, Selection
from app.wording import ONCE_PER_MODEL
from kmex_core.analysis.tables.prototypes import sweep_table
from kmex_core.base.store import read_only
from kmex_core.commands.sweep import sweep_job
from kmex_core.prototypes.sweep import Sweep

TOP = "sweep-top"
SHOWN = ("accuracy_kmex", "ghosting")  # the timeline of Explore has agreement and the effective number


def wait_for_sweep(chosen: Selection) -> bool:
    """Compute the first seed's sweep and the suggestion if they are missing; True when there is nothing to wait for."""
    if SWEEP_SEEDS[0] in read.sweeps(chosen) and read.suggestion(chosen) is not None:
        return True
    subject = read.subject(chosen.model)
    if computed_here(chosen):
        compute_sweeps(chosen, SWEEP_SEEDS[:1])
        return True
    follow(sweep_job(subject, chosen.kmeans), "Converting for 1 to 20 prototypes per class.", ONCE_PER_MODEL, key=TOP)
    return False


def add_seeds(chosen: Selection, sweeps: Mapping[int, Sweep]) -> None:
    """Compute the other seeds, whose range the bands show: here, or by a job that a button starts."""
    missing = [seed for seed in SWEEP_SEEDS if seed not in sweeps]
    if not missing:
        return
    subject = read.subject(chosen.model)
    if computed_here(chosen):
        compute_sweeps(chosen, missing)
        st.rerun()
    if not read_only():
        about = f"{len(missing)} times as long as one seed; the bands then include the range over the seeds."
        label = f"Add the other {len(missing)} seeds"
        offer(sweep_job(subject, chosen.kmeans, len(SWEEP_SEEDS)), label, f"{len(SWEEP_SEEDS)} seeds.", about)


def show_sweep(chosen: Selection, sweeps: Mapping[int, Sweep], suggested: int | None) -> None:
    """Show what the numbers mean, the download, and the curves.

    Args:
        chosen: the model and the number that is marked.
        sweeps: by seed, at least one.
        suggested: the number for all classes that is marked, too.
    """
    k, several = chosen.kmeans.k, list(sweeps.values())
    with st.container(border=True, key=TOP):
        st.markdown(claims.predictions_over_k(several, k))
        st.caption(lines_and_bands(several))
        smallest = int(several[0].counts[-1].min())
        if smallest < KS[-1]:
            st.caption(f"The smallest class has {smallest:,} different training images, and no more prototypes.")
        show_download("Curves as CSV", sweep_table(sweeps), f"{chosen.model.name}-sweep.csv")
    for place, name in zip(st.columns(2, gap="medium"), SHOWN, strict=True):
        with place:
            kind = CURVES[name].kind
            st.markdown(f"**{kind.title} {kind.arrow}**", help=kind.about)
            show_figure(
                f"sweep-{name}",
                sweep_figure(several, k, suggested, name),
                f"{kind.title} for {several[0].reach} numbers of prototypes per class",
            )
