"""Evaluate: metrics of predictions, prototypes and relevance maps."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.evaluate.map_checks import show_map_checks
from app.components.evaluate.metrics import (
    show_classes,
    show_diversity,
    show_ghosts,
    show_metrics,
    show_metrics_download,
)
from app.components.evaluate.relevance_maps import show_conservation, show_scores
from app.components.evaluate.stability import show_stability
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.relevance import choose_maps
from app.components.shared.relevance_scores import choose_images, measure
from app.components.shared.title import show_title
from app.state import selection
from kmex_core.base.plain_text import markdown
from kmex_core.metrics.catalogue import DIVERSITY, MAPS, PREDICTIONS, TRANSPARENCY

chosen = selection()

show_title("Evaluate")
st.markdown(
    (
        "How faithful is KMEx to its black box, and how far can you trust its prototypes and relevance maps? "
        if chosen.has_black_box
        else "How far can you trust the predictions, prototypes and relevance maps? "
    )
    + "↑ higher is better, ↓ lower is better."
)
prepare(chosen.model)
show_notes(chosen)
evaluation = read.evaluation(chosen, [chosen.kmeans.seed], 0)

st.header(PREDICTIONS)
show_metrics(evaluation, PREDICTIONS)
show_classes(chosen)

st.header(TRANSPARENCY, help="Does every prototype take part in decisions?")
show_metrics(evaluation, TRANSPARENCY)
show_ghosts(chosen)

st.header(DIVERSITY, help="Do the prototypes of a class show different things?")
show_metrics(evaluation, DIVERSITY)
show_diversity(chosen)
show_stability(chosen)

st.header(MAPS, help="Do the relevance maps show what the prediction depends on?")
with st.container(horizontal=True):
    images, maps = choose_images(chosen.model), choose_maps(chosen.model)
show_map_checks(chosen, images)
if not measure(chosen, images, maps=maps):
    show_metrics_download(evaluation)
    st.stop()
scores = read.scores(chosen, images, chosen.kmeans.seed, maps)
assert scores is not None
evaluation = read.evaluation(chosen, [chosen.kmeans.seed], images, maps)
show_conservation(scores, maps)
show_metrics(evaluation, MAPS)
if not chosen.is_kmex and (beside := read.reference(chosen.model)):
    st.caption(f"Reference for its relevance maps: **{markdown(beside)}**, a black box trained on the same data.")
show_scores(chosen, scores, maps)
show_metrics_download(evaluation)
