"""What a built-in prototype is in its model's own terms."""

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


def show_own_kind(chosen: Selection, p: int) -> None:
    """Show a prototype's pushed picture, its decoded picture, or its weights, as its model has them."""
    if chosen.has_black_box:
        return
    details = read.built_in_details(chosen.model)
    if details.pushed is not None:
        image = int(details.pushed[p])
        st.caption(
            "It was never pushed onto a training image."
            if image == NO_IMAGE
            else f"When it was last pushed, it became the embedding of training image {image:,}."
        )
    if details.decoded is not None:
        show_picture(
            details.decoded[p],
            f"Prototype {p} as the decoder draws it",
            caption="The prototype itself, drawn by the model's decoder",
            side=SIDE,
        )
    names = chosen.model.class_names
    weights = pd.DataFrame({"class": names, "weight": details.weights[:, p]})
    with st.expander("Class weights", icon=":material/balance:"):
        st.caption("Weights of the last layer: above 0 it speaks for the class, below 0 against it.")
        show_figure(f"weights-{p}", weights_figure(weights), "The weight of this prototype for each class")
