"""What both models say about an image."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app.components.image_picker import Picked
from app.figures.predictions import prediction_figure, prediction_table, shown_rows
from kmex_core.images import enlarged
from kmex_core.results import Explanation, ModelInfo, Prototypes

MOST = 10


def show_predictions(info: ModelInfo, prototypes: Prototypes, found: Explanation, picked: Picked) -> None:
    """Show the image, the verdict in words, and what both models say for each class."""
    left, right = st.columns([1, 2.4], vertical_alignment="top")
    with left:
        st.image(
            enlarged(picked.pixels, 224), caption=picked.title, alt=f"{picked.title}, the image to explain", width=224
        )
    with right:
        _verdict(info, found, picked)
        true = None if picked.label is None else info.class_names[picked.label]
        table = prediction_table(info.class_names, found.black_box, found.kmex, found.similarity, prototypes.classes)
        named = [info.class_names[found.predicted_black_box], *([true] if true else [])]
        st.plotly_chart(
            prediction_figure(shown_rows(table, MOST, named), true),
            key="predictions",
            config={"displayModeBar": False},
            alt="Bars for each class: the black box's probability, and the similarity to the nearest KMEx prototype",
        )
        st.caption(
            "KMEx decides by the longest bar on the right. In brackets its probability: a softmax over the "
            f"similarities to all {len(prototypes)} prototypes, summed within each class. It is flat wherever "
            "similarities are small, so read its order, not its size."
        )
        st.download_button(
            "Predictions as CSV",
            table.to_csv(index=False),
            "predictions.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


def _verdict(info: ModelInfo, found: Explanation, picked: Picked) -> None:
    black_box, kmex = info.class_names[found.predicted_black_box], info.class_names[found.predicted]
    if found.predicted_black_box == found.predicted:
        said = f"Black box and KMEx both say **{kmex}**."
    else:
        said = f"The black box says **{black_box}**, KMEx says **{kmex}**: they disagree."
    if picked.label is None:
        st.info(said, icon=":material/chat:")
    else:
        true = info.class_names[picked.label]
        wrong = [
            name
            for name, predicted in (("the black box", found.predicted_black_box), ("KMEx", found.predicted))
            if predicted != picked.label
        ]
        if wrong:
            both = "both are" if len(wrong) == 2 else f"{wrong[0]} is"
            st.warning(f"{said} The true class is **{true}**: {both} wrong.", icon=":material/close:")
        else:
            st.success(f"{said} That is right.", icon=":material/check:")
    if found.unusual:
        st.warning(
            "**Unlike the training data.** This image lies farther from every prototype than 99 % of the training "
            "images do: what follows may mean little.",
            icon=":material/help:",
        )
    nearest = int(np.argmax(found.similarity))
    st.caption(
        f"KMEx decides by the nearest prototype (number {nearest}, similarity {found.similarity[nearest]:.3f}); "
        f"{found.distance_rank:.0%} of the training images lie nearer to theirs."
    )
