"""Embedding: the embedding map of the images with their prototypes."""

from __future__ import annotations

import streamlit as st

from app import claims, read
from app.components.embedding.map_selection import select_on_map, selected_on_map, show_selected
from app.components.embedding.map_tools import choose_shown, find_image, show_downloads, show_table
from app.components.shared.class_filter import choose_classes
from app.components.shared.embedding_map import show_map
from app.components.shared.job_panel import follow
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.links import bound_switch
from app.state import selection
from app.wording import MEANWHILE
from kmex_core.commands.embedding_map import embedding_map_job

chosen = selection()
info = chosen.model

show_title("Embedding")
st.markdown(
    "Each dot is an image; images that the network sees as similar are close together. Each square is a prototype, "
    "sized by its importance. A diamond is a ghost."
)
prepare(info)
show_notes(chosen)
projection = read.peek(read.subject(info).embedding_map())
if projection is None:
    request = embedding_map_job(read.subject(info))
    follow(request, "Computing the embedding map.", f"Takes up to a minute, once per model. {MEANWHILE}")
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    which = choose_shown(chosen)
    classes = choose_classes(info, width=220)
    find_image(projection)
    bind = bound_switch("test", False)
    test = st.toggle("Test images", key="test", bind=bind, help="Adds the test images as larger dots.")
selected = selected_on_map(chosen, projection)
left, right = st.columns([5, 2], gap="medium")
with left:
    clicked = show_map(
        "map",
        chosen,
        projection,
        selected=selected,
        which=which,
        classes=classes,
        test=test,
        instead="Show as table below has the same data and is keyboard-accessible.",
    )
    st.caption(
        f"UMAP fitted to {len(projection.sample):,} training images in {projection.axes.shape[0]} principal "
        "components; all other images are placed among them. "
        f"Trustworthiness {projection.trustworthiness:.3f} (0 to 1 ↑: whether neighbours here are neighbours in the "
        "embedding). The axes have no unit, and distances between groups mean little. "
        f"{claims.far_from_all(projection, test)} Drag to move, scroll to zoom, click for details."
    )
with right:
    show_selected(chosen, projection, selected)
if clicked:
    select_on_map(chosen, clicked)
    st.rerun()
show_table(chosen, projection, which, classes, test)
show_downloads(chosen, projection, which, classes, test)
