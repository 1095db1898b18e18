"""Attributes: which subgroups the prototypes represent, and where predictions fail."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.attributes.correlations import show_correlations
from app.components.attributes.covered import show_coverage, show_finding, show_pairs
from app.components.attributes.curves import show_coverage_curves
from app.components.attributes.errors import show_errors
from app.components.attributes.missing import explain_missing
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.links import bound, one_of
from app.state import selection
from app.wording import message

TABS = ("Covered", "Errors", "Correlations")

chosen = selection()
info = chosen.model

show_title("Attributes")
st.markdown(
    "Do the prototypes represent all subgroups of the data, and for which subgroups do predictions fail? A prototype "
    "has the attributes of its exemplar, the nearest training image of its class."
)
if not read.dataset(info).split("train").attribute_names:
    explain_missing(chosen)
    st.stop()
prepare(info)
show_notes(chosen)
for note in read.dataset(info).notes:
    st.caption(message(note))
coverage = read.coverage(chosen)
# only the open tab is made
bind = bound("tab", one_of(TABS), f"Choose one of {', '.join(TABS)}.", TABS[0])
covered, errors, correlations = st.tabs(TABS, key="tab", bind=bind, on_change="rerun")
if covered.open:
    with covered:
        show_finding(chosen, coverage)
        show_coverage(chosen, coverage)
        with st.expander("Coverage by number of prototypes per class (Figure 5 of the paper)"):
            show_coverage_curves(chosen, len(coverage.names))
        with st.expander("Pairs of attributes with too few or too many prototypes", "subgroups" in st.query_params):
            show_pairs(chosen, coverage)
if errors.open:
    with errors:
        show_errors(chosen)
if correlations.open:
    with correlations:
        show_correlations(chosen, coverage)
