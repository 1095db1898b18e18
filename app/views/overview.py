"""Overview: the model, how faithfully KMEx approximates it, and its prototypes."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.overview.diagram import explain_model
from app.components.overview.metric import show_metric
from app.components.overview.report import offer_report
from app.components.overview.summary import show_summary
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.prototype_card import open_prototype
from app.components.shared.prototype_list import show_list
from app.components.shared.title import show_title
from app.state import selection
from app.wording import EXEMPLARS, IMPORTANCE, what_it_is

chosen = selection()
info = chosen.model

show_title("Overview")
st.markdown(what_it_is(info))
prepare(info)
show_notes(chosen, of_data=True)
converted = read.conversion(chosen)
show_summary(chosen, converted)
if chosen.is_kmex:
    show_metric(chosen, converted)

offer_report(chosen)

with st.expander(f"How {chosen.title} works", expanded=True, icon=":material/lightbulb:"):
    explain_model(chosen)

slider = "Change their number with the slider in the sidebar."
st.header("Prototypes", help=slider if chosen.is_kmex else None)
st.caption(f"{EXEMPLARS} {IMPORTANCE} Click a prototype for details.")
if clicked := show_list(chosen, "class", None):
    open_prototype(chosen, int(clicked))
