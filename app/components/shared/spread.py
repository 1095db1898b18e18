"""How the prototypes are spread, in the sidebar below the choice of their number, and what the last choice changed."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import read
from app.selection import Selection
from app.state import selected
from kmex_core.metrics.catalogue import METRICS
from kmex_core.prototypes.source import per_class_words
from kmex_core.prototypes.types import Summary

_SEEN = "_spread"  # in the session: the numbers of prototypes that were chosen last, of which model


def show_spread() -> None:
    """Show the effective number of prototypes and the coverage radius, if the page has opened a stored conversion.

    For the end of a page's run: the page computes what is missing, this only reads.
    """
    chosen = selected()
    if chosen is None or not read.is_opened(chosen.model):
        return
    summary = read.summary(chosen)
    if summary is None or summary.effective is None or summary.coverage_radius is None:
        return
    before, k = _before(chosen), chosen.per_class
    with st.sidebar.container(key="spread"):
        _show("effective", "Effective number", summary, before)
        _show("coverage_radius", "Coverage radius", summary, before)
        change = f" Changes are from {per_class_words(before[0])}." if before else ""
        if k != 1:
            st.caption(
                f"Effective number of as many random images: {summary.effective_random:.2f}; of as many equidistant "
                f"groups: {summary.effective_equidistant:.2f}.{change}"
            )
        elif change:
            st.caption(change)


def _show(name: str, title: str, summary: Summary, before: tuple[int, Summary] | None) -> None:
    kind, value = METRICS[name], getattr(summary, name)
    delta = None if before is None else f"{value - getattr(before[1], name):+.2f}"
    # more prototypes raise one and lower the other anyway: a change is neither good nor bad
    st.metric(f"{title} {kind.arrow}", f"{value:.2f}", delta, delta_color="off", help=f"{kind.title}: {kind.about}")


def _before(chosen: Selection) -> tuple[int, Summary] | None:
    """The number of prototypes per class that was chosen before this one for the same model, and its summary."""
    name, k = (chosen.model.name, chosen.is_kmex), chosen.per_class
    seen: tuple[tuple[str, bool], int, int | None] | None = st.session_state.get(_SEEN)
    if seen is None or seen[0] != name:
        seen = name, k, None
    elif seen[1] != k:
        seen = name, k, seen[1]
    st.session_state[_SEEN] = seen
    if seen[2] is None:
        return None
    summary = read.summary(replace(chosen, source=replace(chosen.kmeans, k=seen[2])))
    return None if summary is None or summary.effective is None else (seen[2], summary)
