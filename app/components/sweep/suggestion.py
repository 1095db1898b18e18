"""Which number of prototypes to take, and why."""

from __future__ import annotations

import streamlit as st

from app.claims.suggestion import class_reason, suggested
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.figures.suggestion import evidence_figure
from app.selection import Selection
from kmex_core.analysis.suggestion import overall
from kmex_core.analysis.tables.prototypes import suggestion_table
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.source import SUGGESTED
from kmex_core.prototypes.suggestion import DIMENSIONS, IMAGES, STABLE, Evidence


def show_suggestion(chosen: Selection, evidence: Evidence, label: int) -> None:
    """Show the suggested numbers with their reasons, ways to take them, and the evidence on one class.

    Args:
        chosen: the model.
        evidence: on its classes.
        label: the class.
    """
    names, k = chosen.model.class_names, overall(evidence)
    with st.container(border=True):
        st.markdown(suggested(evidence))
        with st.container(horizontal=True):
            st.button(
                f"Take {k} for all classes",
                icon=":material/done:",
                disabled=chosen.kmeans.k == k,
                on_click=_take,
                args=(k,),
            )
            st.button(
                "Take each class's own",
                icon=":material/done_all:",
                disabled=chosen.kmeans.k == SUGGESTED,
                on_click=_take,
                args=(SUGGESTED,),
            )
        st.markdown(class_reason(evidence, names, label))
        with st.expander("How the number is found"):
            st.markdown(
                "Two things must hold for a number. *Stable*: half of the images find the clusters of the other half "
                f"again, so that {STABLE:.0%} of an image's cluster mates stay together (prediction strength ↑). "
                "*Real*: clusters fit better than in a class without groups, a Gaussian with the same covariance (gap "
                "statistic ↑, chance 0). Of the numbers for which both hold, the smallest is suggested whose gap is "
                f"the highest up to chance. Up to {IMAGES:,} images of a class are used, in {DIMENSIONS} principal "
                "components. A group with few of these images is easily missed."
            )
            for place, name in zip(st.columns(2, gap="medium"), ("prediction_strength", "gap"), strict=True):
                with place:
                    title = {"prediction_strength": "Prediction strength ↑", "gap": "Gap statistic ↑"}[name]
                    st.markdown(f"**{title}**, {markdown(names[label])}")
                    show_figure(f"evidence-{name}", evidence_figure(evidence, label, name), f"{title} by number")
        table = suggestion_table(evidence, names)
        show_download("Suggestions as CSV", table, f"{chosen.model.name}-suggestion.csv")


def _take(k: int) -> None:
    st.session_state["auto"] = k == SUGGESTED
    if k != SUGGESTED:
        st.session_state["k"] = float(k)
