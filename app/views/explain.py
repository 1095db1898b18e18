"""Explain: an image, the predictions, the prototypes that it looks like, and where."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.explain.contrast import show_contrast
from app.components.explain.explanation import (
    choose_usable_maps,
    show_black_box,
    show_comparison,
    show_exemplars,
    show_map_controls,
    show_verdicts,
)
from app.components.explain.image_picker import pick_image
from app.components.explain.predictions import show_predictions, show_verdict_on_image
from app.components.shared.notes import show_notes
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection

TOP = 3

chosen = selection()
info = chosen.model

show_title("Explain")
st.caption("Which prototypes an image looks like, where, and why it is not another class.")
prepare(info)
show_notes(chosen)
converted = read.conversion(chosen)
# a container for each part: more or fewer notes about one image move no part of another's explanation
choice, verdict, maps, numbers = st.container(), st.container(), st.container(), st.container()
with choice:
    picked = pick_image(chosen, converted)
if picked is None:
    st.stop()
prediction = read.prediction(chosen, picked.name, picked.pixels)
with verdict:
    show_verdict_on_image(chosen, converted.prototypes, prediction, picked)
with numbers:
    st.header("Probabilities")
    show_predictions(chosen, converted.prototypes, prediction, picked)
with maps:
    st.header("This looks like that")
    kind = choose_usable_maps(chosen)
    explanation = read.explanation(chosen, picked.name, picked.pixels, TOP, kind)
    show_map_controls(kind)
    contrast, rows = st.container(), st.container()
    # each part is shown when it is computed: the image's maps first, what they are worth last
    with rows:
        places = show_comparison(chosen, converted.prototypes, explanation, picked.pixels)
        show_black_box(chosen, explanation, picked.pixels)
    with contrast:
        show_contrast(chosen, converted.prototypes, explanation, picked, kind)
    show_exemplars(chosen, converted.prototypes, explanation, kind, places)
    show_verdicts(chosen, converted.prototypes, explanation, picked, places)
