"""Prototypes: the gallery, and a page for each prototype."""

from __future__ import annotations

import streamlit as st

from app import links, read, state
from app.components.prototypes.patches import show_patches
from app.components.shared.class_filter import choose_classes
from app.components.shared.embedding_map import show_map
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.prototype_card import show_prototype_images, show_prototype_summary
from app.components.shared.prototype_list import choose_order, show_downloads, show_list
from app.components.shared.title import show_title
from app.wording import EXEMPLARS, EXPLAIN

chosen = state.selection()
info = chosen.model

if not read.subject(info).is_embedded:
    st.title("Prototypes")
prepare(info)
show_notes(chosen)
converted = read.conversion(chosen)
named = links.picked("prototype")
p = links.prototype_index(named, converted.prototypes.classes)

if p is None:
    show_title("Prototypes")
    if named:
        why = links.missing_prototype(named, converted.prototypes.classes, info.class_names)
        links.refuse("prototype", named, f"{why} All prototypes are shown instead.")
    st.markdown(f"{EXEMPLARS} Click a prototype for details.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = choose_order()
        classes = choose_classes(info)
    show_downloads(chosen)
    clicked = show_list(chosen, order, classes)
    if chosen.is_kmex:
        show_patches(chosen)
else:
    show_title(f"Prototype {p}")
    if st.button("All prototypes", icon=":material/arrow_back:"):
        links.pick_prototype("")
        st.rerun()
    left, right = st.columns([1, 2], gap="medium")
    with left:
        show_prototype_summary(chosen, p)
        st.page_link(
            "views/explain.py",
            label=EXPLAIN,
            icon=":material/image_search:",
            query_params=state.query(source="Training image", training=int(converted.prototypes.exemplar[p])),
        )
    with right:
        clicked, projection = "", read.peek(read.subject(info).embedding_map())
        if projection is None:
            st.page_link(
                "views/explore.py",
                label="Compute the embedding map to see where it is",
                icon=":material/explore:",
                query_params=state.query(),
            )
        else:
            clicked = show_map("where", chosen, projection, selected=f"prototype-{p}").removeprefix("prototype-")
    show_prototype_images(chosen, p)
if clicked.isdecimal():
    links.pick_prototype(links.prototype_name(int(clicked), converted.prototypes.classes))
    st.rerun()
