"""Attributes: which subgroups the prototypes represent, and where predictions fail."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.attributes.audit import (
    choose_attribute,
    explain_missing,
    show_accuracy,
    show_attribute,
    show_attributes,
    show_correlations,
    show_coverage,
    show_finding,
    show_subgroups,
)
from app.components.attributes.curves import kmex_curves, show_coverage_curves
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection
from app.wording import message

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
show_finding(chosen, coverage)

st.header("Least accurate subgroups", help="Accuracy per attribute and per pair of attributes, on the test split.")
show_accuracy(chosen)

st.header(
    "Attribute coverage", help="Filled square: the prototype's exemplar has the attribute. ✕: no prototype has it."
)
name = choose_attribute(coverage)
if name:
    show_attribute(chosen, coverage, name)
show_coverage(chosen, coverage, name)
show_attributes(chosen, coverage, kmex_curves(info, chosen.kmeans.metric) if chosen.is_kmex else None)

st.header("Coverage by number of prototypes", help="Figure 5 of the paper.")
show_coverage_curves(chosen, len(coverage.names))

st.header("Subgroups of two attributes", help="Which pairs of attributes have too few or too many prototypes?")
show_subgroups(chosen, coverage)

st.header("Attribute correlations", help="Do attributes co-occur among prototypes as they do in the data?")
show_correlations(chosen, coverage)
