"""Which models are compared, and over how many runs."""

from __future__ import annotations

import shlex

import streamlit as st

from app import read
from app.components.shared.relevance_scores import choose_images
from app.links import bound, bound_switch, bound_to, one_of
from app.selection import Selection
from app.wording import message
from kmex_core.analysis import published
from kmex_core.base.chance import above_chance, chance_accuracy
from kmex_core.base.phrases import joined
from kmex_core.base.plain_text import markdown
from kmex_core.data import registry as datasets
from kmex_core.models.info import ModelInfo

RUNS = (1, 3, 5)
ALL, PAIR = "all", "pair"
PARTS = {ALL: "All models", PAIR: "Two models, image by image"}


def choose_models(chosen: Selection) -> list[ModelInfo]:
    """Show the choice among the models of the selected model's data set; at first all that were trained."""
    infos = [info for info in read.models() if _same_data(info, chosen.model)]
    left_out = {info.name: why for info in infos if info.name != chosen.model.name and (why := _why_not(info, chosen))}
    names = [info.name for info in infos]
    default = [name for name in names if name not in left_out]
    instead = (
        f"Choose models of {markdown(datasets.title(chosen.model.dataset))}; others may have been deleted or renamed."
    )
    picked = st.multiselect(
        "Models",
        names,
        default,
        key="models",
        bind=bound("models", one_of(names), instead, default, several=True),
        help="Models of this data set. Numbers on different test images cannot be compared.",
    )
    if missing := [f"{name} ({why})" for name, why in left_out.items() if name not in picked]:
        st.caption(message(f"Not added: {joined('and', missing)}. Add them above if you want them here."))
    return [info for info in infos if info.name in picked]


def _same_data(info: ModelInfo, other: ModelInfo) -> bool:
    return (info.dataset, info.class_names) == (other.dataset, other.class_names)


def _why_not(info: ModelInfo, chosen: Selection) -> str:
    """Why a model is not compared unless asked for, as a clause; "" when it is."""
    if info.why_not_compared:
        return info.why_not_compared
    summary = read.summary(Selection(info, chosen.kmeans))
    if summary is None or summary.accuracy_black_box is None:
        return ""
    labels = read.dataset(info).split("test").labels
    chance = chance_accuracy(labels, len(info.class_names))
    return "" if above_chance(summary.accuracy_black_box, chance, len(labels)) else "predicts no better than guessing"


def choose_part() -> str:
    """Show the choice between all models' numbers and two models image by image, a key of `PARTS`."""
    return str(
        st.segmented_control(
            "Show",
            list(PARTS),
            format_func=PARTS.__getitem__,
            default=ALL,
            required=True,
            key="part",
            label_visibility="collapsed",
            bind=bound_to("part", PARTS, ALL),
        )
    )


def choose_measurements(info: ModelInfo) -> tuple[int, int, bool]:
    """Show the choice of test images and runs that the numbers are over, and of the paper's figures beside them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        images = choose_images(info)
        runs = st.selectbox(
            "Runs",
            RUNS,
            key="runs",
            width=120,
            bind=bound("runs", one_of(RUNS), f"Choose one of {', '.join(map(str, RUNS))}.", RUNS[0]),
            help="Each run has its own seed for k-means and for the choice of test images. With several runs, ± is the "
            "standard deviation over these seeds; with one, over images.",
        )
        bind = bound_switch("published", False)
        with_published = st.toggle("Paper's figures", False, key="published", bind=bind)
    title = datasets.title(info.dataset)
    if with_published and not published.of_dataset(title):
        st.caption(f"The paper has no figures for {markdown(title)}.")
    return images, runs, with_published


def explain_alone(info: ModelInfo) -> None:
    """Explain how to get a second model of the same data set, where there is none."""
    if sum(other.dataset == info.dataset for other in read.models()) > 1:
        return
    title = markdown(datasets.title(info.dataset))
    st.info(
        f"**{markdown(info.name)}** is the only model of {title} in the store, so it is compared with its KMEx. Train "
        "another model to compare them:",
        icon=":material/add:",
    )
    st.code(
        f"python -m kmex_core train --dataset {shlex.quote(info.dataset)} --backbone resnet18 --name second",
        language=None,
    )
