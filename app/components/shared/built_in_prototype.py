"""A built-in prototype in its model's own terms."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import read
from app.components.shared.figure import show_figure
from app.components.shared.picture import show_picture
from app.figures.evaluation import weights_figure
from app.selection import Selection
from kmex_core.prototypes.types import NO_IMAGE

SIDE = 224


def show_built_in(chosen: Selection, p: int) -> None:
    """Show a prototype's pushed image, its decoded image and its class weights, as far as its model has them."""
    if chosen.is_kmex:
        return
    details = read.built_in_details(chosen.model)
    if details.pushed is not None:
        image = int(details.pushed[p])
        st.caption(
            "This prototype was never pushed onto a training image."
            if image == NO_IMAGE
            else f"At the last push, it was set to the embedding of training image {image:,}."
        )
    if details.decoded is not None:
        show_picture(
            details.decoded[p],
            "This prototype as reconstructed by the decoder",
            caption="Prototype reconstructed by the model's decoder",
            side=SIDE,
        )
    names = chosen.model.class_names
    weights = pd.DataFrame({"class": names, "weight": details.weights[:, p]})
    with st.expander("Class weights", icon=":material/balance:"):
        st.caption("Weights of the last layer: positive values support the class, negative values oppose it.")
        show_figure(f"weights-{p}", weights_figure(weights), "The weight of this prototype for each class")
