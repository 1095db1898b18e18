"""The predictions for an image."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import claims
from app.components.explain.image_picker import Picked
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.picture import show_picture
from app.figures.predictions import probability_figure, shown_rows, similarity_figure
from app.selection import Selection
from kmex_core.analysis.tables.prototypes import prediction_table
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.types import Prediction

MOST = 10


def show_predictions(chosen: Selection, prototypes: Prototypes, prediction: Prediction, picked: Picked) -> None:
    """Show the image, the verdict in words, and the predictions for each class."""
    info = chosen.model
    left, right = st.columns([1, 3])
    show_picture(picked.pixels, f"{picked.title}, the image to explain", caption=picked.title, side=224, place=left)
    with right:
        _verdict(chosen, prototypes, prediction, picked)
    true = None if picked.label is None else info.class_names[picked.label]
    table = prediction_table(
        info.class_names, prediction.black_box, prediction.kmex, prediction.similarity, prototypes.classes
    )
    beside = prediction.predicted_black_box
    predicted = prediction.predicted if beside is None else beside
    rows = shown_rows(table, MOST, [info.class_names[predicted], *([true] if true else [])])
    *left_column, kmex = st.columns(1 if beside is None else 2)
    for column in left_column:
        with column:
            st.markdown(
                "**Black box**" if chosen.has_black_box else f"**{chosen.title}**: the prediction is the longest bar"
            )
            show_figure("probability", probability_figure(rows, true), "Bars: the probability of each class")
    with kmex:
        if not chosen.is_kmex:
            st.markdown(
                "**Most similar prototype of each class**",
                help="In brackets: the probability of the class. It depends on the similarities to all prototypes, "
                "weighed by the last layer, so the most similar prototype may be of another class. Its temperature is "
                "fitted on held-out images.",
            )
        else:
            st.markdown(
                "**KMEx**: the prediction is the longest bar",
                help="In brackets: the probability of the class, from the squared distances to all "
                f"{len(prototypes)} prototypes with a temperature fitted on held-out images. The nearest prototype "
                "decides, not this probability.",
            )
        show_figure(
            "similarity", similarity_figure(rows, true), "Bars: the similarity to each class's nearest prototype"
        )
    show_download("Predictions as CSV", table, "predictions.csv")


def _verdict(chosen: Selection, prototypes: Prototypes, prediction: Prediction, picked: Picked) -> None:
    info = chosen.model
    near = claims.how_near(prediction.distance_rank)
    if prediction.unusual:  # before any verdict, because it decides what a verdict is worth
        st.warning(
            f"**Unlike the training data.** {near[0].upper()}{near[1:]}. The model knows {len(info.class_names)} "
            "classes and predicts one of them for any image. Do not rely on this prediction.",
            icon=":material/help:",
        )
    hedge = "Best guess: " if prediction.unusual else ""
    kmex, sure = markdown(info.class_names[prediction.predicted]), f"{prediction.kmex[prediction.predicted]:.1%}"
    black_box = sure_black_box = ""
    if prediction.predicted_black_box is not None and prediction.black_box is not None:
        black_box = markdown(info.class_names[prediction.predicted_black_box])
        sure_black_box = f"{prediction.black_box[prediction.predicted_black_box]:.1%}"
    if not chosen.has_black_box:
        verdict = f"{hedge}{chosen.title} predicts **{kmex}** ({sure})."
    elif prediction.predicted_black_box == prediction.predicted:
        verdict = f"{hedge}The black box ({sure_black_box}) and KMEx ({sure}) both predict **{kmex}**."
    else:
        verdict = (
            f"{hedge}The black box predicts **{black_box}** ({sure_black_box}), KMEx predicts **{kmex}** ({sure}): "
            "they disagree."
        )
    if picked.label is None:
        st.info(verdict, icon=":material/chat:")
    else:
        true = markdown(info.class_names[picked.label])
        wrong = [
            name
            for name, predicted in (
                ("the black box", prediction.predicted_black_box),
                (chosen.title, prediction.predicted),
            )
            if predicted != picked.label and (chosen.has_black_box or name != "the black box")
        ]
        if wrong:
            both = "both are" if len(wrong) == 2 else f"{wrong[0]} is"
            st.warning(f"{verdict} The true class is **{true}**, so {both} wrong.", icon=":material/close:")
        else:
            st.success(f"{verdict} Correct.", icon=":material/check:")
    if tie := claims.near_tie(prediction, prototypes.classes, info.class_names, not chosen.is_kmex):
        st.info(tie, icon=":material/balance:")
    if prediction.likeliest != prediction.predicted:
        st.info(
            f"The nearest prototype is of **{kmex}**, which is the prediction. All prototypes together make "
            f"**{markdown(info.class_names[prediction.likeliest])}** likelier "
            f"({prediction.kmex[prediction.likeliest]:.1%}).",
            icon=":material/balance:",
        )
    nearest = int(np.argmax(prediction.similarity))
    decides = (
        "weighs the similarities to all prototypes. The most similar one is number"
        if not chosen.is_kmex
        else "decides by the nearest prototype, number"
    )
    similarity = prediction.similarity[nearest]
    st.caption(f"{chosen.title} {decides} {nearest} (similarity {similarity:.3f}). {near[0].upper()}{near[1:]}.")
