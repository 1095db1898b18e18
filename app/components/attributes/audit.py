"""The audit of attributes, part by part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from app import read
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.gallery import Card, Group, prototype_card, show_cards
from app.components.shared.prototype_card import open_prototype
from app.figures.attributes import accuracy_figure, attribute_label, correlation_figure, coverage_figure
from app.links import bound_to, pick, picked, prototype_name, refuse
from app.selection import Selection
from app.state import address
from app.wording import message
from kmex_core import metrics
from kmex_core.analysis.coverage import Coverage, Curves, finding
from kmex_core.analysis.tables.attributes import attribute_overview, correlation_table, coverage_table, subgroup_table
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.types import Prototypes

KIND = "attribute"
WORST, SHOWN, NEAREST = 12, 12, 8
TRAINING = "Training image"
WHICH = {"under": "Under-represented", "over": "Over-represented"}


def explain_missing(chosen: Selection) -> None:
    """Say how a data set gets attributes, where it has none."""
    st.info(
        f"The data set of **{markdown(chosen.model.name)}** has no attributes. Look at **Faces**, which comes "
        "with 30, or add a table to your own:",
        icon=":material/label_off:",
    )
    st.markdown(
        "- a folder of pictures: put `attributes.csv` beside `train/`, with a column `file_name` (`train/cat/1.png`) "
        "and a column of yes/no, true/false, 1/0 or 1/−1 for each attribute;\n"
        "- parquet files: boolean columns beside `image` and `label` are attributes;\n"
        "- CelebA: `--dataset celeba`, once its files are in the data root.\n\n"
        "`--class COLUMN` makes one of the columns the class that is predicted."
    )
    st.code("python -m kmex_core train --dataset FOLDER --class COLUMN --backbone resnet18 --name mine", language=None)


def show_finding(chosen: Selection, covered: Coverage) -> None:
    """Show what there is to know first: in words, then as numbers."""
    first, *others = finding(covered, chosen.per_class)
    st.markdown(f"**{message(first)}**" + "".join(f"  \n{message(sentence)}" for sentence in others))
    caught, total, count = int(covered.captured.sum()), len(covered.names), len(covered.has)
    row = st.container(horizontal=True)
    row.metric(
        "Captured ↑",
        f"{caught} of {total}",
        border=True,
        width=190,
        help="Attributes that at least one prototype has: its picture, the nearest training image of its class.",
    )
    row.metric(
        "Error of correlations ↓",
        f"{covered.error:.3f}",
        border=True,
        width=220,
        help="Mean absolute difference between the attributes' correlations among the prototypes' pictures and among "
        "the training images, over all pairs (0 to 2).",
    )
    row.metric(
        "Ghosts ↓",
        f"{covered.ghosts} of {count}",
        border=True,
        width=190,
        help="Prototypes that no training image of their class has as its nearest.",
    )


# ---- coverage -------------------------------------------------------------------------------------------------------


def choose_attribute(covered: Coverage) -> str:
    """Show the choice of an attribute; a click in the matrix chooses, too."""
    names = list(covered.names)
    asked = picked(KIND)
    if asked and asked not in names:
        refuse(KIND, asked, "Choose one of the attributes listed.")
    order = [names[attribute] for attribute in _order(covered)]
    return (
        st.selectbox(
            "Attribute",
            order,
            order.index(asked) if asked in order else None,
            key="attribute-choice",
            placeholder="Choose an attribute",
            width=340,
            on_change=_chosen,
            format_func=lambda name: attribute_label(covered, names.index(name)),
            help="Or click a mark in the matrix. ✕: no prototype has it.",
        )
        or ""
    )


def _chosen() -> None:
    pick(KIND, st.session_state["attribute-choice"] or "")


def _order(covered: Coverage) -> np.ndarray:
    return np.argsort(-covered.frequency, kind="stable")


def show_coverage(chosen: Selection, covered: Coverage, name: str) -> None:
    """Show which prototypes have which attributes; a click on a mark chooses its attribute."""
    info = chosen.model
    prototypes = read.conversion(chosen).prototypes
    classes = [info.class_names[label] for label in prototypes.classes]
    figure = coverage_figure(covered, _order(covered), classes, name)

    def clicked() -> None:
        points = st.session_state["coverage"]["selection"]["points"]
        if points:
            st.session_state["attribute-choice"] = points[0]["customdata"][0]
            _chosen()

    st.plotly_chart(
        figure,
        key="coverage",
        config={"displayModeBar": False},
        on_select=clicked,
        selection_mode="points",
        alt=f"Which of {len(covered.has)} prototypes have which of {len(covered.names)} attributes",
    )
    show_download("Matrix as CSV", coverage_table(covered, classes), f"{_file(chosen)}-coverage.csv")


def show_attribute(chosen: Selection, covered: Coverage, name: str) -> None:
    """Show the prototypes that have an attribute, and the training images with it that are nearest to a prototype."""
    info = chosen.model
    data = read.dataset(info)
    prototypes = read.conversion(chosen).prototypes
    column = covered.names.index(name)
    has = data.split("train").attributes[:, column]
    own = np.flatnonzero(covered.has[:, column])
    words = markdown(name.replace("_", " "))
    st.markdown(
        f"**{words}**: {covered.images[column]:,} training images ({covered.frequency[column]:.1%}) and {len(own)} of "
        f"{len(covered.has)} prototypes ({covered.share[column]:.1%}) have it."
    )
    cards = []
    for p in own[:SHOWN].tolist():
        href = address("prototypes", prototype=prototype_name(p, prototypes.classes))
        card = prototype_card(info, prototypes, p, href)
        cards.append(replace(card, text=f"{info.class_names[prototypes.classes[p]]}: {card.text}"))
    labels = data.split("train").labels
    images = [
        Card(
            f"image-{image}",
            f"train/{image}",
            f"Training image {image} of {info.class_names[labels[image]]}",
            info.class_names[labels[image]],
            address("explain", source=TRAINING, training=image),
        )
        for image in _near(prototypes, has)
    ]
    groups = [Group(cards, "Prototypes that have it", f"{len(own)} in all")] if cards else []
    groups.append(Group(images, "Images that have it", "nearest to a prototype"))
    if not cards:
        st.caption(f"No prototype has it; these are training images with {words}.")
    clicked = show_cards("attribute-cards", info, data.fingerprint, groups)
    if clicked.startswith("image-"):
        chosen_image = {"source": TRAINING, "training": clicked.removeprefix("image-")}
        st.switch_page("views/explain.py", query_params=chosen_image)
    elif clicked:
        open_prototype(chosen, int(clicked))


def _near(prototypes: Prototypes, has: np.ndarray) -> list[int]:
    """Training images that have an attribute, those nearest to a prototype of their class first."""
    near = [int(image) for row in prototypes.nearest.T for image in row if image >= 0 and has[image]]
    return list(dict.fromkeys([*near, *np.flatnonzero(has)[:NEAREST].tolist()]))[:NEAREST]


# ---- tables ---------------------------------------------------------------------------------------------------------


def show_attributes(chosen: Selection, covered: Coverage, curves: Curves | None) -> None:
    """Show all attributes as a table, those that are missed first, the rarest of them on top."""
    table = attribute_overview(covered, curves)
    st.dataframe(
        table.assign(attribute=table["attribute"].str.replace("_", " ")),
        key="attribute-table",
        height=340,
        hide_index=True,
        alt="All attributes with how frequent they are among images and prototypes",
        column_order=["attribute", "captured", "frequency", "images", "prototypes", "expected", "lift", "told_apart",
                      "first_k"],
        column_config={
            "attribute": st.column_config.TextColumn("Attribute"),
            "captured": st.column_config.CheckboxColumn("Captured", help="At least one prototype has it."),
            "frequency": st.column_config.NumberColumn("Of images", format="percent",
                                                       help="Share of the training images that have it."),
            "images": st.column_config.NumberColumn("Images", format="localized", help="Training images that have it."),
            "prototypes": st.column_config.NumberColumn("Prototypes", help="How many have it."),
            "expected": st.column_config.NumberColumn(
                "Expected", format="%.1f", help="How many prototypes would have it if they were drawn from the images."
            ),
            "lift": st.column_config.NumberColumn(
                "Lift", format="%.2f", help="Its share among prototypes divided by its share among images; 1 is alike, "
                "below 1 it is under-represented."),
            "told_apart": st.column_config.NumberColumn(
                "Variance explained (η²) ↑", format="%.3f", help="How much of the attribute's variance the nearest "
                "prototype explains: 1 all, about 0 none (adjusted for chance, so it can fall slightly below 0). Where "
                "it is near 0, a prototype has the attribute by chance."),
            "first_k": st.column_config.NumberColumn(
                "First captured at k", help="The smallest number of prototypes per class that captures it (median over "
                "seeds); empty if no k up to 20 does for half of the seeds, or if the curves are not computed yet."),
        },
    )  # fmt: skip
    show_download("Attributes as CSV", table, f"{_file(chosen)}-attributes.csv")


def show_correlations(chosen: Selection, covered: Coverage) -> None:
    """Show which attributes come together among images and among prototypes, and the difference."""
    parts = {
        "Training images": (covered.correlation, "Correlation"),
        "Prototypes": (covered.correlation_prototypes, "Correlation"),
        "Prototypes − images": (covered.correlation_prototypes - covered.correlation, "Difference"),
    }
    for place, (title, (values, unit)) in zip(st.columns(3, gap="small"), parts.items(), strict=True):
        with place:
            st.markdown(f"**{title}**")
            show_figure(f"correlation-{title}", correlation_figure(values, covered.names, unit), f"{unit}s: {title}")
    show_download("Correlations as CSV", correlation_table(covered), f"{_file(chosen)}-correlations.csv")


def show_subgroups(chosen: Selection, covered: Coverage) -> None:
    """Show which combinations of two attributes the prototypes leave out, or have too many of."""
    table = subgroup_table(covered)
    which = st.segmented_control(
        "Subgroups",
        list(WHICH),
        format_func=WHICH.__getitem__,
        default="under",
        required=True,
        key="subgroups",
        label_visibility="collapsed",
        bind=bound_to("subgroups", WHICH, "under"),
    )
    shown = table.head(100) if which == "under" else table.iloc[::-1].head(100)
    st.dataframe(
        shown.assign(subgroup=shown["subgroup"].str.replace("_", " ")),
        key="subgroup-table",
        height=300,
        hide_index=True,
        alt="Combinations of two attributes with counts among images and prototypes",
        column_config={
            "subgroup": st.column_config.TextColumn("Subgroup", help="Images with both attributes."),
            "images": st.column_config.NumberColumn("Images", format="localized", help="Training images with both."),
            "frequency": st.column_config.NumberColumn("Of images", format="percent"),
            "expected": st.column_config.NumberColumn(
                "Expected", format="%.1f", help="Prototypes with both, if they were drawn from the training images."
            ),
            "prototypes": st.column_config.NumberColumn("Prototypes", help="How many have both."),
            "surplus": st.column_config.NumberColumn(
                "Surplus", format="%+.1f", help="Prototypes beyond those expected; below 0 there are too few."
            ),
        },
    )
    show_download("Subgroups as CSV", table, f"{_file(chosen)}-subgroups.csv")


def show_accuracy(chosen: Selection) -> None:
    """Show for which groups of test images predictions fail most."""
    info = chosen.model
    table = read.accuracy_table(chosen)
    labels = read.dataset(info).split("test").labels
    if len(table) == 0:
        st.caption("No attribute occurs in at least five test images.")
        return
    overall = metrics.accuracy(read.conversion(chosen).test_predicted, labels)
    worst = table.iloc[0]
    group = markdown(worst["group"].replace("_", " "))
    beside = f" The black box is right on {worst['accuracy_black_box']:.1%}." if "accuracy_black_box" in table else ""
    st.markdown(
        f"Worst: **{group}**. {chosen.title} is right on {worst['accuracy']:.1%} of its "
        f"{int(worst['images']):,} test images ({worst['low']:.1%} to {worst['high']:.1%}), on all it is right on "
        f"{overall:.1%}.{beside}"
    )
    show_figure(
        "group-accuracy",
        accuracy_figure(table.head(WORST), chosen.title, overall),
        f"Accuracy of the {min(WORST, len(table))} worst groups",
    )
    st.caption(
        f"The {min(WORST, len(table))} worst of {len(table):,} groups with five test images or more: those whose "
        "accuracy is lowest at the upper end of its 95 % Wilson interval, so that a few images prove little. Dotted: "
        "all test images. Among many groups some are low by chance."
    )
    show_download("All groups as CSV", table, f"{_file(chosen)}-accuracy.csv")


def _file(chosen: Selection) -> str:
    return f"{chosen.model.name}-{chosen.source.slug}"
