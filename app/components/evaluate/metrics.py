"""An evaluation as cards, figures and downloads, predicate by predicate."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import claims, read
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.notes import marked
from app.components.shared.summaries import stored_summaries
from app.figures.evaluation import confusion_figure, shares_figure
from app.figures.sweep import sweep_figure
from app.links import bound_to
from app.selection import KS, Selection
from app.state import query
from app.wording import message
from kmex_core import metrics
from kmex_core.analysis import comparison
from kmex_core.analysis.tables.evaluation import confusion_table, shares_table
from kmex_core.base.plain_text import markdown, table_csv
from kmex_core.metrics.catalogue import METRICS, PREDICTIONS, Metric
from kmex_core.metrics.types import Evaluation, Measured

WIDTH = 246
MOST_CLASSES = 40


def show_metrics(evaluation: Evaluation, group: str) -> None:
    """Show a card for each metric of a group, with what it means, and why one could not be computed."""
    names = [name for name, kind in METRICS.items() if kind.group == group and name in evaluation.metrics]
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
    for reason in dict.fromkeys(evaluation.metrics[name].reason for name in names if evaluation.metrics[name].reason):
        st.caption(f"Not computed: {message(reason)}")


def _direction(better: str) -> str:
    return f"{better.capitalize()} is better. " if better else ""


def _spread(kind: Metric, value: Measured) -> str:
    if value.interval is not None:
        low, high = value.interval
        return f"On other images like these it would lie between {low:.1%} and {high:.1%} (95 % Wilson interval)."
    if value.std_images is not None:
        return f"Standard deviation over images: {kind.shown(value.std_images)}."
    return ""


def show_classes(chosen: Selection) -> None:
    """Show which classes are taken for which, by the model or by its black box."""
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
            help="Whose predictions the table below counts.",
            bind=bound_to("by", predictors, "predicted"),
        )
        predicted = conversion.test_predicted if by == "predicted" else conversion.test_black_box
        confused = metrics.confusion(predicted, labels, len(info.class_names))
        table = confusion_table(confused, info.class_names)
        right = metrics.class_accuracy(confused)
        worst = int(np.nanargmin(right))
        st.caption(
            f"Test images by true class (row) and predicted class (column). {predictors[by]} is least often right on "
            f"**{markdown(info.class_names[worst])}**: {right[worst]:.1%} of {confused[worst].sum():,} images. "
            "The colour shows mistakes only."
        )
        show_figure("confusion", confusion_figure(table), "Which classes are taken for which")
        show_download(
            "Confusion matrix as CSV", lambda: table_csv(table, index=True), f"{info.name}-confusion-{by}.csv"
        )


def show_ghosts(chosen: Selection) -> None:
    """Show how the training images of each class are shared among its prototypes, with ghosts marked."""
    info = chosen.model
    table = shares_table(read.conversion(chosen).prototypes, info.class_names)
    ghosts = int(table["ghost"].sum())
    st.caption(
        "Each piece is a prototype: the share of its class's training images that have it as their nearest prototype. "
        "What is missing to 100 % is nearest to a prototype of another class. "
        + (
            f"A diamond marks a ghost; there are {ghosts}."
            if ghosts
            else "There is no ghost, which a diamond would mark."
        )
    )
    by_class = table.groupby("class", sort=False)
    shown = by_class["ghost"].sum().sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]
    if by_class.ngroups > MOST_CLASSES:
        st.caption(f"{MOST_CLASSES} of {by_class.ngroups} classes, those with most ghosts; the table has all.")
    show_figure("shares", shares_figure(table[table["class"].isin(shown)]), "Share of training images per prototype")
    show_download("Shares as CSV", table, f"{info.name}-prototypes-{chosen.source.slug}.csv")


def show_diversity(chosen: Selection) -> None:
    """Show diversity over the number of prototypes, and which of the paper's numbers compare."""
    summaries = stored_summaries(chosen) if chosen.has_black_box else {}
    st.caption(
        "The paper's D_dvs compares prototypes by a softmax over their similarities. Its published numbers (0.37 to "
        "0.45 for KMEx) come from float32 rounding, which keeps a prototype from being at distance 0 from itself: "
        f"compare only *D_dvs as published* with them. {claims.diversity_over_k(summaries)}"
    )
    if not chosen.has_black_box:
        return
    if len(summaries) > 1:
        figure = sweep_figure(summaries, chosen.kmeans.k, KS, "effective")
        show_figure("vendi", figure, "Effective prototypes for each number per class")
    if len(summaries) < len(KS):
        st.page_link(
            "views/sweep.py",
            label="Compute the curve for 1 to 20 per class",
            icon=":material/show_chart:",
            query_params=query(),
        )


def show_metrics_download(evaluation: Evaluation) -> None:
    """Show the button that keeps all numbers of the page."""
    show_download(
        "All numbers as CSV",
        lambda: comparison.as_csv(comparison.rows([evaluation], False)),
        f"{evaluation.models[0]}-metrics.csv",
    )
