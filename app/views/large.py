"""Large embeddings: those in parts on disk, of which the page reads results alone."""

from __future__ import annotations

import streamlit as st

from app import sharded
from app.components.large.choice import choose_embedding, show_summary
from app.components.large.density import choose_classes, show_map
from app.components.large.missing import offer_map, offer_sweep
from app.components.large.sweep import choose_k, show_at_k, show_curves, show_suggestion
from app.components.shared.title import show_title

show_title("Large embeddings", of_model=False)
st.markdown(
    "Millions of images, kept in parts on disk. The page reads stored results only: prototypes for every number per "
    "class, and a map that counts images instead of drawing each."
)
choices = st.container(horizontal=True, key="large-choices", gap="medium")
with choices:
    embedding = choose_embedding()
if embedding is None:
    st.stop()
tiles, sweep = sharded.tile_map(embedding), sharded.sweep(embedding)
places = sharded.places(embedding, sweep) if sweep is not None and tiles is not None else None
with choices:
    k = choose_k(sweep) if sweep is not None else 1
    classes = choose_classes(embedding)
show_summary(embedding, sweep, tiles)
if sweep is None:
    offer_sweep(embedding)
else:
    show_at_k(sweep, k)
    show_suggestion(embedding, sharded.suggestion(embedding, sweep), classes)
if tiles is None or (sweep is not None and places is None):
    offer_map(embedding, tiles, sweep)
if tiles is not None or sweep is not None:
    show_map(embedding, sweep, k, classes, tiles, places)
if sweep is not None:
    show_curves(embedding, sweep, k)
