"""Explain: one image, what both models say, which prototypes it looks like, and where."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.comparison import explain_maps, show_black_box, show_comparison
from app.components.image_picker import pick_image
from app.components.notes import show_notes
from app.components.predictions import show_predictions
from app.components.preparation import prepare
from app.components.title import show_title
from app.state import selection

TOP = 3

chosen = selection()
info = chosen.model

show_title("Explain")
st.markdown("Why does the model decide as it does? Choose an image and see which prototypes it looks like, and where.")
prepare(info)
show_notes(chosen)
converted = read.conversion(chosen)
picked = pick_image(chosen, converted)
if picked is None:
    st.stop()
found = read.explanation(chosen, picked.name, picked.pixels, TOP)
show_predictions(chosen, converted.prototypes, found, picked)

st.header("This looks like that")
explain_maps(found.maps.method)
own = read.prototype_maps(chosen, found.prototypes.tolist())
show_comparison(chosen, converted.prototypes, found, own, picked.pixels)
show_black_box(chosen, found, picked.pixels)
