"""Evaluate: how far predictions, prototypes and maps can be trusted, in numbers."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.evaluation import show_classes, show_diversity, show_ghosts, show_metrics, show_metrics_download
from app.components.map_scores import (
    choose_images,
    measure,
    scores_of,
    show_distributions,
    show_extremes,
    show_ordering,
)
from app.components.notes import show_notes
from app.components.preparation import prepare
from app.components.title import show_title
from app.state import selection
from kmex_core.base.plain_text import markdown
from kmex_core.metrics.catalogue import DIVERSITY, MAPS, PREDICTIONS, TRANSPARENCY

chosen = selection()
info = chosen.model

show_title("Evaluate")
st.markdown(
    (
        "How well does KMEx stand in for its black box, and how far can its prototypes and maps be trusted? "
        if chosen.has_black_box
        else "How far can predictions, prototypes and maps be trusted? "
    )
    + "↑ means that higher is better, ↓ that lower is."
)
prepare(info)
show_notes(chosen)
found = read.evaluation(chosen, [chosen.kmeans.seed], 0)

st.header(PREDICTIONS)
show_metrics(found, PREDICTIONS)
show_classes(chosen)

st.header(TRANSPARENCY, help="Does every prototype take part in decisions?")
show_metrics(found, TRANSPARENCY)
show_ghosts(chosen)

st.header(DIVERSITY, help="Do the prototypes of a class show different things?")
show_metrics(found, DIVERSITY)
show_diversity(chosen)

st.header(MAPS, help="Do relevance maps show what decides?")
images = choose_images(info)
if not measure(chosen, images):
    show_metrics_download(found)
    st.stop()
scores = read.scores(chosen, images, chosen.kmeans.seed)
assert scores is not None
found = read.evaluation(chosen, [chosen.kmeans.seed], images)
st.caption(f"Maps by PRP and LRP on {len(scores):,} test images; {scores.conserving:.1%} of them conserve relevance.")
show_metrics(found, MAPS)
if not chosen.has_black_box and (beside := read.reference(info)):
    st.caption(f"Its maps are compared with those of **{markdown(beside)}**, a black box of the same data.")
show_ordering(chosen, scores)
table = scores_of(chosen, scores)
show_distributions(chosen, table)
show_extremes(chosen, table)
show_metrics_download(found)
