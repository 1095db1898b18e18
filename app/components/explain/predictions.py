"""What an image is taken for: the verdict with the prototypes it looks like, and the numbers of each class."""

from __future__ import annotations

import streamlit as st

from app import read
from app.claims.predictions import Verdict, decides, how_far, usual, verdict
from app.components.explain.image_picker import Picked
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.picture import show_picture
from app.figures.predictions import probability_figure, shown_rows, similarity_figure
from app.selection import Selection
from app.workspace.board import ROLES, compared
from kmex_core.analysis.tables.prototypes import prediction_table
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.types import Prediction

MOST = 10
SIDE = 224


def show_verdict_on_image(chosen: Selection, prototypes: Prototypes, prediction: Prediction, picked: Picked) -> None:
    """Show the image, what it is taken for in words, and the prototypes that it looks like."""
    said = verdict(chosen, prototypes, prediction, picked.label)
    left, right = st.columns([1, 3])
    show_picture(picked.pixels, f"{picked.title}, the image to explain", caption=picked.title, side=SIDE, place=left)
    with right:
        _show_words(said)
        _show_likenesses(chosen, prototypes, prediction)
        st.caption(f"{decides(chosen, prediction)} {said.near} {usual(chosen, prototypes)}")


def _show_words(said: Verdict) -> None:
    if said.unusual:  # before any verdict, because it decides what a verdict is worth
        st.warning(said.unusual, icon=":material/help:")
    if said.tie:
        st.info(said.tie, icon=":material/balance:")
    if said.correct is None:
        st.info(said.headline, icon=":material/chat:")
    elif said.correct:
        st.success(said.headline, icon=":material/check:")
    else:
        st.warning(said.headline, icon=":material/close:")
    if said.likelier:
        st.info(said.likelier, icon=":material/balance:")


def _show_likenesses(chosen: Selection, prototypes: Prototypes, prediction: Prediction) -> None:
    """Show the exemplars of the compared prototypes, each with its distance."""
    info, train = chosen.model, read.dataset(chosen.model).split("train")
    with st.container(horizontal=True, key="kx-likenesses"):
        for role, p in compared(prediction, prototypes.classes).items():
            name = info.class_names[prototypes.classes[p]]
            with st.container(width=SIDE // 2 + 24):
                about = f"Prototype {p} of {name}, {ROLES[role].lower()}"
                show_picture(train.image(int(prototypes.exemplar[p])), about, side=SIDE // 2, width=SIDE // 2)
                st.caption(
                    f"**{markdown(name)}**, prototype {p}  \n{ROLES[role]}  \n"
                    f"{how_far(chosen, prototypes, prediction, p)}"
                )


def show_predictions(chosen: Selection, prototypes: Prototypes, prediction: Prediction, picked: Picked) -> None:
    """Show the predictions for each class."""
    info = chosen.model
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
