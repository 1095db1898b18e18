"""Prototypes: the gallery, and a page for each prototype."""

from __future__ import annotations

import streamlit as st

from app import links, read, state
from app.components.prototypes.patches import show_patches
from app.components.shared.class_filter import choose_classes
from app.components.shared.explore_links import show_links
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.prototype_card import show_prototype_images, show_prototype_summary
from app.components.shared.prototype_list import choose_order, show_downloads, show_list
from app.components.shared.title import show_title
from app.explore_links import explore_address
from app.prototype_names import missing_prototype, prototype_index, prototype_name, prototype_title
from app.wording import EXEMPLARS, EXPLAIN, IMPORTANCE

chosen = state.selection()
info = chosen.model

if not read.subject(info).is_embedded:
    st.title("Prototypes")
prepare(info)
show_notes(chosen)
converted = read.conversion(chosen)
named = links.picked("prototype")
p = prototype_index(named, converted.prototypes.classes)

if p is None:
    show_title("Prototypes")
    if named:
        why = missing_prototype(named, converted.prototypes.classes, info.class_names)
        links.refuse("prototype", named, f"{why} All prototypes are shown instead.")
    st.markdown(f"{EXEMPLARS} {IMPORTANCE} Click a prototype for details.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = choose_order()
        classes = choose_classes(info)
    clicked = show_list(chosen, order, classes)
    if clicked:
        links.pick_prototype(prototype_name(int(clicked), converted.prototypes.classes))
        st.rerun()
    show_downloads(chosen)
    if chosen.is_kmex:
        show_patches(chosen)
else:
    show_title(prototype_title(p, converted.prototypes.classes, info.class_names))
    if st.button("All prototypes", icon=":material/arrow_back:"):
        links.pick_prototype("")
        st.rerun()
    left, right = st.columns([1, 2], gap="large")
    with left:
        show_prototype_summary(chosen, p)
        name, image = prototype_name(p, converted.prototypes.classes), int(converted.prototypes.exemplar[p])
        show_links(
            [
                ("Show on the map", explore_address(point=f"prototype-{name}")),
                (EXPLAIN, state.address("explain", source="Training image", training=image)),
            ]
        )
    with right:
        show_prototype_images(chosen, p)
