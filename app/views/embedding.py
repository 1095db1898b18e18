"""Embedding: the map of the training images, with the prototypes that stand for them."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.embedding.map_selection import select_on_map, selected_on_map, show_selected
from app.components.embedding.map_tools import find_image, show_downloads, show_table
from app.components.shared.class_filter import choose_classes
from app.components.shared.embedding_map import SHOWN, show_map
from app.components.shared.job_panel import follow
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.links import bound, bound_to, on_or_off
from app.state import selection
from app.wording import MEANWHILE
from kmex_core.commands.embedding_map import embedding_map_job

chosen = selection()
info = chosen.model

show_title("Embedding")
st.markdown(
    "Each dot is an image, placed by its embedding: images close together look alike to the network. "
    "Each square is a prototype, larger when it stands for more images; a diamond is a ghost."
)
prepare(info)
show_notes(chosen)
drawn = read.peek(read.subject(info).embedding_map())
if drawn is None:
    request = embedding_map_job(read.subject(info))
    follow(request, "Drawing the map.", f"Takes up to a minute, once per model. {MEANWHILE}")
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    which = st.segmented_control(
        "Show", list(SHOWN), format_func=SHOWN.__getitem__, default="all", required=True, key="show",
        bind=bound_to("show", SHOWN, "all"), width="content",
        help=f"All images, those that {chosen.title} gets wrong, or those on which KMEx and the black box differ.",
    )  # fmt: skip
    classes = choose_classes(info, width=220)
    find_image(drawn)
    bind = bound("test", on_or_off, "It is true or false.", False)
    test = st.toggle("Test images", key="test", bind=bind, help="Overlay the test images as larger dots.")
selected = selected_on_map(chosen, drawn)
left, right = st.columns([5, 2], gap="medium")
with left:
    clicked = show_map(
        "map", chosen, drawn, selected=selected, which=which, classes=classes, test=test,
        instead="Show as table, below it, is for the keyboard.",
    )  # fmt: skip
    st.caption(
        f"UMAP of {len(drawn.sample):,} training images in {drawn.axes.shape[0]} principal components, all others "
        f"placed among them; trustworthiness {drawn.trustworthiness:.3f} (0 to 1 ↑: how far neighbours on the map are "
        "neighbours in the embedding). The axes have no unit, and distances between groups mean little. "
        "Drag to move, scroll to zoom, click for details."
    )
with right:
    show_selected(chosen, drawn, selected)
if clicked:
    select_on_map(chosen, clicked)
    st.rerun()
show_table(chosen, drawn, which, classes, test)
show_downloads(chosen, drawn, which, classes, test)
