"""An evaluation as cards, figures and downloads."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import claims, read
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.notes import marked
from app.figures.evaluation import confusion_figure, shares_figure
from app.figures.sweep import sweep_figure
from app.links import bound_to
from app.selection import Selection
from app.state import query
from app.wording import BETTER, interval, message
from kmex_core import metrics
from kmex_core.analysis import comparison
from kmex_core.analysis.tables.evaluation import confusion_table, shares_table
from kmex_core.base.plain_text import markdown, table_csv
from kmex_core.metrics.catalogue import METRICS, PREDICTIONS, Metric
from kmex_core.metrics.types import Evaluation, Measured

WIDTH = 300
MOST_CLASSES = 40


def show_metrics(evaluation: Evaluation, group: str) -> None:
    """Show a card for each metric of a group, with what it means, how it compares with its chance levels, and why one
    could not be computed."""
    names = [
        name
        for name, kind in METRICS.items()
        if kind.group == group and name in evaluation.metrics and not kind.chance_of
    ]
    row = st.container(horizontal=True)
    for name in names:
        kind, value = METRICS[name], evaluation.metrics[name]
        caveat = evaluation.caveat if group == PREDICTIONS else ""
        black_box = evaluation.metrics.get(kind.black_box)
        beside = f"black box {kind.shown(black_box.mean)}" if black_box and black_box.mean is not None else None
        row.metric(
            marked(f"{kind.title} {kind.arrow}", caveat),
            "not computed" if value.mean is None else kind.with_unit(value.mean),
            beside,
            delta_color="off",
            delta_arrow="off",
            help=f"{kind.about} {_direction(kind.better)}{_spread(kind, value)} {caveat}",
            border=True,
            width=WIDTH,
            height="stretch",
        )
    sentences = comparison.chance_sentences(evaluation, group)
    if sentences:
        st.markdown("\n".join(f"- {message(sentence)}" for sentence in sentences))
        st.caption(BETTER)
    for reason in dict.fromkeys(evaluation.metrics[name].reason for name in names if evaluation.metrics[name].reason):
        st.caption(f"Not computed: {message(reason)}")


def _direction(better: str) -> str:
    return f"{better.capitalize()} is better. " if better else ""


def _spread(kind: Metric, value: Measured) -> str:
    if value.interval is not None:
        return interval(*value.interval)
    if value.std_images is not None:
        return f"Standard deviation over images: {kind.shown(value.std_images)}."
    return ""


def show_classes(chosen: Selection) -> None:
    """Show the confusion matrix, of the model or of its black box."""
    info = chosen.model
    conversion = read.conversion(chosen)
    labels = read.dataset(info).split("test").labels
    with st.expander("Confusion matrix", icon=":material/grid_on:"):
        predictors = {"predicted": chosen.title} | ({"black_box": "Black box"} if chosen.has_black_box else {})
        by = st.segmented_control(
            "Predicted by",
            list(predictors),
            format_func=predictors.__getitem__,
            default="predicted",
            required=True,
            key="by",
            help="The model whose predictions the matrix counts.",
            bind=bound_to("by", predictors, "predicted"),
        )
        predicted = conversion.test_predicted if by == "predicted" else conversion.test_black_box
        confused = metrics.confusion(predicted, labels, len(info.class_names))
        table = confusion_table(confused, info.class_names)
        right = metrics.class_accuracy(confused)
        worst = int(np.nanargmin(right))
        st.caption(
            f"Test images by true class (row) and predicted class (column). The lowest accuracy of {predictors[by]} is "
            f"on **{markdown(info.class_names[worst])}**: {right[worst]:.1%} of {confused[worst].sum():,} images. "
            "Only mistakes are coloured."
        )
        show_figure("confusion", confusion_figure(table), "Confusion matrix")
        show_download(
            "Confusion matrix as CSV", lambda: table_csv(table, index=True), f"{info.name}-confusion-{by}.csv"
        )


def show_ghosts(chosen: Selection) -> None:
    """Show how the training images of each class are shared among its prototypes, with ghosts marked."""
    info = chosen.model
    table = shares_table(read.conversion(chosen).prototypes, info.class_names)
    ghosts = int(table["ghost"].sum())
    st.caption(
        "Each segment is a prototype: the share of its class's training images that it is the nearest prototype of. "
        "The rest, up to 100 %, is nearest to prototypes of other classes. "
        + (f"Diamonds mark ghosts ({ghosts})." if ghosts else "There are no ghosts.")
    )
    by_class = table.groupby("class", sort=False)
    shown = by_class["ghost"].sum().sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]
    if by_class.ngroups > MOST_CLASSES:
        st.caption(f"The {MOST_CLASSES} of {by_class.ngroups} classes with the most ghosts; the CSV has all.")
    show_figure("shares", shares_figure(table[table["class"].isin(shown)]), "Share of training images per prototype")
    show_download("Shares as CSV", table, f"{info.name}-prototypes-{chosen.source.slug}.csv")


def show_diversity(chosen: Selection) -> None:
    """Show diversity over the number of prototypes, and how to compare it with the paper."""
    sweeps = list(read.sweeps(chosen).values()) if chosen.is_kmex else []
    if about := claims.effective_number(read.conversion(chosen).summary, chosen.per_class):
        st.caption(about)
    st.caption(
        "The paper's D_dvs is a softmax over the similarities between prototypes. The published values (0.37 to 0.45 "
        "for "
        "KMEx) depend on float32 rounding, which keeps the distance of a prototype to itself above 0, so compare them "
        f"with *D_dvs as published* only. {claims.diversity_over_k(sweeps[0]) if sweeps else ''}"
    )
    if not chosen.is_kmex:
        return
    if sweeps:
        figure = sweep_figure(sweeps, chosen.kmeans.k, None, "effective")
        show_figure("effective", figure, "Effective number of prototypes for each number of prototypes per class")
    else:
        st.page_link(
            "views/sweep.py",
            label="Compute the curve for 1 to 20 prototypes per class",
            icon=":material/show_chart:",
            query_params=query(),
        )


def show_metrics_download(evaluation: Evaluation) -> None:
    """Show the button that downloads all numbers of the page."""
    show_download(
        "All numbers as CSV",
        lambda: comparison.as_csv(comparison.rows([evaluation], False)),
        f"{evaluation.models[0]}-metrics.csv",
    )
