"""The audit of attributes, part by part."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

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
from app.wording import GHOST, message
from kmex_core import metrics
from kmex_core.analysis.coverage import Coverage, Curves, finding
from kmex_core.analysis.tables.attributes import attribute_overview, correlation_table, coverage_table, subgroup_table
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.types import Prototypes

KIND = "attribute"
WORST, SHOWN, NEAREST = 12, 12, 8
TRAINING = "Training image"
CHANCE = (
    f"Chance: the middle 95 % of {metrics.DRAWS} draws of random training images, as many of each class as it has "
    "prototypes."
)
COLOURS: dict[str, Literal["green", "off", "red"]] = {"better": "green", "within": "off", "worse": "red"}
WHICH = {"under": "Under-represented", "over": "Over-represented"}


def explain_missing(chosen: Selection) -> None:
    """Explain how to add attributes to a data set that has none."""
    st.info(
        f"The data set of **{markdown(chosen.model.name)}** has no attributes. Select **Faces** in the sidebar, which "
        "has "
        "30, or add attributes to your own data set:",
        icon=":material/label_off:",
    )
    st.markdown(
        "- Image folders: put `attributes.csv` beside `train/`, with a column `file_name` (`train/cat/1.png`) "
        "and one column per attribute (yes/no, true/false, 1/0 or 1/−1).\n"
        "- Parquet files: boolean columns beside `image` and `label` are attributes.\n"
        "- CelebA: use `--dataset celeba` once its files are in the data root.\n\n"
        "`--class COLUMN` makes a column the class to predict."
    )
    st.code("python -m kmex_core train --dataset FOLDER --class COLUMN --backbone resnet18 --name mine", language=None)


def show_finding(chosen: Selection, coverage: Coverage) -> None:
    """Show the main result in words, then as numbers."""
    first, *others = finding(coverage, chosen.per_class)
    st.markdown(f"**{message(first)}**" + "".join(f"  \n{message(sentence)}" for sentence in others))
    caught, total, count = int(coverage.captured.sum()), len(coverage.names), len(coverage.has)
    captured, error = coverage.captured_chance, coverage.error_chance
    row = st.container(horizontal=True)
    row.metric(
        "Captured ↑",
        f"{caught} of {total}",
        f"chance {captured.low:g} to {captured.high:g}",
        delta_color=COLOURS[captured.verdict(caught, True)],
        delta_arrow="off",
        border=True,
        width=190,
        help=f"Attributes of at least one prototype's exemplar. {CHANCE}",
    )
    row.metric(
        "Error of correlations ↓",
        f"{coverage.error:.3f}",
        f"chance {error.low:.3f} to {error.high:.3f}",
        delta_color=COLOURS[error.verdict(coverage.error, False)],
        delta_arrow="off",
        border=True,
        width=220,
        help="Mean absolute difference between the attributes' correlations among the prototypes' exemplars and among "
        f"the training images, over all pairs (0 to 2). {CHANCE}",
    )
    row.metric(
        "Ghosts ↓",
        f"{coverage.ghosts} of {count}",
        border=True,
        width=190,
        help=GHOST,
    )


# ---- coverage -------------------------------------------------------------------------------------------------------


def choose_attribute(coverage: Coverage) -> str:
    """Show the choice of an attribute, which a click in the matrix makes, too."""
    names = list(coverage.names)
    requested = picked(KIND)
    if requested and requested not in names:
        refuse(KIND, requested, "Choose one of the attributes listed.")
    order = [names[attribute] for attribute in _order(coverage)]
    return (
        st.selectbox(
            "Attribute",
            order,
            order.index(requested) if requested in order else None,
            key="attribute-choice",
            placeholder="Choose an attribute",
            width=340,
            on_change=_chosen,
            format_func=lambda name: attribute_label(coverage, names.index(name)),
            help="You can also click a mark in the matrix. ✕: no prototype has the attribute.",
        )
        or ""
    )


def _chosen() -> None:
    pick(KIND, st.session_state["attribute-choice"] or "")


def _order(coverage: Coverage) -> np.ndarray:
    return np.argsort(-coverage.frequency, kind="stable")


def show_coverage(chosen: Selection, coverage: Coverage, name: str) -> None:
    """Show which prototypes have which attributes; a click on a mark chooses its attribute."""
    info = chosen.model
    prototypes = read.conversion(chosen).prototypes
    classes = [info.class_names[label] for label in prototypes.classes]
    figure = coverage_figure(coverage, _order(coverage), classes, name)

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
        alt=f"Which of {len(coverage.has)} prototypes have which of {len(coverage.names)} attributes",
    )
    show_download("Matrix as CSV", coverage_table(coverage, classes), f"{_file(chosen)}-coverage.csv")


def show_attribute(chosen: Selection, coverage: Coverage, name: str) -> None:
    """Show the prototypes that have an attribute, and the training images with it that are nearest to a prototype."""
    info = chosen.model
    data = read.dataset(info)
    prototypes = read.conversion(chosen).prototypes
    column = coverage.names.index(name)
    has = data.split("train").attributes[:, column]
    having = np.flatnonzero(coverage.has[:, column])
    words = markdown(name.replace("_", " "))
    st.markdown(
        f"**{words}** occurs in {coverage.images[column]:,} training images ({coverage.frequency[column]:.1%}) and in "
        f"{len(having)} of {len(coverage.has)} prototypes ({coverage.share[column]:.1%})."
    )
    cards = []
    for p in having[:SHOWN].tolist():
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
    groups = [Group(cards, "Prototypes", f"{len(having)} with this attribute")] if cards else []
    groups.append(Group(images, "Training images", "nearest to a prototype"))
    if not cards:
        st.caption("No prototype has this attribute. These are training images with it.")
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


def show_attributes(chosen: Selection, coverage: Coverage, curves: Curves | None) -> None:
    """Show all attributes as a table, missed ones first, the rarest on top."""
    table = attribute_overview(coverage, curves)
    st.dataframe(
        table.assign(attribute=table["attribute"].str.replace("_", " ")),
        key="attribute-table",
        height=340,
        hide_index=True,
        alt="All attributes with their frequency among images and prototypes",
        column_order=[
            "attribute",
            "captured",
            "captured_chance",
            "frequency",
            "images",
            "prototypes",
            "expected",
            "beyond_chance",
            "lift",
            "told_apart",
            "first_k",
        ],
        column_config={
            "attribute": st.column_config.TextColumn("Attribute"),
            "captured": st.column_config.CheckboxColumn("Captured", help="At least one prototype has it."),
            "captured_chance": st.column_config.NumberColumn(
                "Captured by chance",
                format="percent",
                help=f"Share of {metrics.DRAWS} draws of random training images that capture it, as many of each class "
                "as it has prototypes.",
            ),
            "frequency": st.column_config.NumberColumn(
                "Frequency", format="percent", help="Share of the training images that have it."
            ),
            "images": st.column_config.NumberColumn("Images", format="localized", help="Number of training images."),
            "prototypes": st.column_config.NumberColumn("Prototypes", help="Number of prototypes that have it."),
            "expected": st.column_config.NumberColumn(
                "Expected",
                format="%.1f",
                help="Number of prototypes if they were random training images of their classes.",
            ),
            "beyond_chance": st.column_config.CheckboxColumn(
                "Beyond chance",
                help="The number of prototypes is more than "
                f"{metrics.simultaneous_limit(coverage.chance.deviation):.1f} from the expected one, which the "
                "farthest of all attributes is in 5 % of the draws of random training images.",
            ),
            "lift": st.column_config.NumberColumn(
                "Lift",
                format="%.2f",
                help="Share among prototypes divided by share among images; below 1, it is under-represented, by "
                "chance or not.",
            ),
            "told_apart": st.column_config.NumberColumn(
                "Variance explained (η²) ↑",
                format="%.3f",
                help="Share of the attribute's variance that the nearest "
                "prototype explains, adjusted for chance (it can be slightly below 0). Near 0, a prototype has the "
                "attribute by chance.",
            ),
            "first_k": st.column_config.NumberColumn(
                "First captured at k",
                help="Smallest number of prototypes per class that captures it (median over "
                "seeds). Empty if no k up to 20 does for half of the seeds, or if the curves are not computed yet.",
            ),
        },
    )
    show_download("Attributes as CSV", table, f"{_file(chosen)}-attributes.csv")


def show_correlations(chosen: Selection, coverage: Coverage) -> None:
    """Show the correlations of attributes among images and among prototypes, and the difference."""
    parts = {
        "Training images": (coverage.correlation, "Correlation"),
        "Prototypes": (coverage.correlation_prototypes, "Correlation"),
        "Prototypes − images": (coverage.correlation_prototypes - coverage.correlation, "Difference"),
    }
    for place, (title, (values, unit)) in zip(st.columns(3, gap="small"), parts.items(), strict=True):
        with place:
            st.markdown(f"**{title}**")
            show_figure(f"correlation-{title}", correlation_figure(values, coverage.names, unit), f"{unit}s: {title}")
    limit = metrics.simultaneous_limit(coverage.chance.deviation_correlation)
    difference = np.abs(coverage.correlation_prototypes - coverage.correlation)[np.triu_indices(len(coverage.names), 1)]
    st.caption(
        f"{int((difference > limit).sum()):,} of {len(difference):,} pairs differ by more than {limit:.2f}, which the "
        "largest difference among as many random training images of each class exceeds in 5 % of the draws."
    )
    show_download("Correlations as CSV", correlation_table(coverage), f"{_file(chosen)}-correlations.csv")


def show_subgroups(chosen: Selection, coverage: Coverage) -> None:
    """Show which pairs of attributes have too few prototypes, or too many."""
    table = subgroup_table(coverage)
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
    limit = metrics.simultaneous_limit(coverage.chance.deviation_pairs)
    st.caption(
        f"{int(table['beyond_chance'].sum()):,} of {len(table):,} pairs have a surplus beyond ±{limit:.1f}, which the "
        "largest of all pairs exceeds in 5 % of the draws of random training images, as many of each class as it has "
        "prototypes."
    )
    shown = table.head(100) if which == "under" else table.iloc[::-1].head(100)
    st.dataframe(
        shown.assign(subgroup=shown["subgroup"].str.replace("_", " ")),
        key="subgroup-table",
        height=300,
        hide_index=True,
        alt="Pairs of attributes with counts among images and prototypes",
        column_config={
            "subgroup": st.column_config.TextColumn("Subgroup", help="A pair of attributes."),
            "images": st.column_config.NumberColumn(
                "Images", format="localized", help="Number of training images with both attributes."
            ),
            "frequency": st.column_config.NumberColumn(
                "Frequency", format="percent", help="Share of the training images with both."
            ),
            "expected": st.column_config.NumberColumn(
                "Expected",
                format="%.1f",
                help="Number of prototypes with both if they were random training images of their classes.",
            ),
            "prototypes": st.column_config.NumberColumn("Prototypes", help="Number of prototypes with both."),
            "surplus": st.column_config.NumberColumn(
                "Surplus", format="%+.1f", help="Prototypes minus expected prototypes; negative values mean too few."
            ),
            "beyond_chance": st.column_config.CheckboxColumn(
                "Beyond chance", help=f"The surplus is beyond ±{limit:.1f}."
            ),
        },
    )
    show_download("Subgroups as CSV", table, f"{_file(chosen)}-subgroups.csv")


def show_accuracy(chosen: Selection) -> None:
    """Show the groups of test images with the lowest accuracy."""
    info = chosen.model
    table = read.accuracy_table(chosen)
    labels = read.dataset(info).split("test").labels
    if len(table) == 0:
        st.caption("No attribute occurs in at least five test images.")
        return
    overall = metrics.accuracy(read.conversion(chosen).test_predicted, labels)
    worst = table.iloc[0]
    group = markdown(worst["group"].replace("_", " "))
    beside = f" The black box reaches {worst['accuracy_black_box']:.1%}." if "accuracy_black_box" in table else ""
    st.markdown(
        f"Least accurate: **{group}**. {chosen.title} is correct on {worst['accuracy']:.1%} of its "
        f"{int(worst['images']):,} test images (95 % interval {worst['low']:.1%} to {worst['high']:.1%}), against "
        f"{overall:.1%} of all test images.{beside}"
    )
    show_figure(
        "group-accuracy",
        accuracy_figure(table.head(WORST), chosen.title, overall),
        f"Accuracy of the {min(WORST, len(table))} least accurate groups",
    )
    st.caption(
        f"The {min(WORST, len(table))} least accurate of {len(table):,} groups with at least five test images, ranked "
        "by "
        "the upper end of the 95 % Wilson interval, which keeps small groups from dominating. Dotted line: all test "
        "images. Among many groups, some are low by chance."
    )
    show_download("All groups as CSV", table, f"{_file(chosen)}-accuracy.csv")


def _file(chosen: Selection) -> str:
    return f"{chosen.model.name}-{chosen.source.slug}"
