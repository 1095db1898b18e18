"""The tab Covered: which attributes the prototypes have, prototype by prototype, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import streamlit as st

from app import read
from app.claims import attributes as claims
from app.components.attributes.curves import kmex_curves
from app.components.shared.downloads import show_download
from app.components.shared.gallery import prototype_card
from app.components.shared.matrix import MOST_CELLS, Cell, Head, Row, Section, show_matrix
from app.links import bound_to, pick, picked, refuse
from app.prototype_names import prototype_name, prototype_title
from app.selection import Selection
from app.wording import GHOST, message
from kmex_core import metrics
from kmex_core.analysis.coverage import Coverage, finding, images_by_prototype
from kmex_core.analysis.tables.attributes import attribute_overview, attribute_table, coverage_table, subgroup_table
from kmex_core.data.colours import class_colours

KIND = "attribute"
MOST_PAIRS = 50
CHANCE = (
    f"Chance: the middle 95 % of {metrics.DRAWS} draws of random training images, as many of each class as it has "
    "prototypes."
)
COLOURS: dict[str, Literal["green", "off", "red"]] = {"better": "green", "within": "off", "worse": "red"}
WHICH = {"under": "Under-represented", "over": "Over-represented"}
TRAINING = "split:train"


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
    row.metric("Ghosts ↓", f"{coverage.ghosts} of {count}", border=True, width=190, height="stretch", help=GHOST)


# ---- prototypes × attributes ----------------------------------------------------------------------------------------


def show_coverage(chosen: Selection, coverage: Coverage) -> None:
    """Show which prototypes have which attributes, the prototypes as pictures; every mark opens its images."""
    info = chosen.model
    data = read.dataset(info)
    name = _choose_attribute(coverage)
    curves = kmex_curves(info, chosen.kmeans.metric) if chosen.is_kmex else None
    table = attribute_table(coverage, curves)
    if name:
        row = table[table["attribute"] == name].iloc[0].to_dict()
        st.markdown(claims.in_prototypes(row, len(coverage.has)))
    columns = _Prototypes(chosen) if coverage.has.size <= MOST_CELLS else _Classes(chosen, coverage)
    st.caption(
        f"{columns.legend} Below each attribute: its share of the training images, and the number of prototypes with "
        "it (by chance). Click a picture, an attribute or a cell to open its training images in Explore."
    )
    show_matrix(
        "coverage",
        f"Which of {len(coverage.has)} prototypes have which of {len(coverage.names)} attributes",
        "Attribute",
        [*columns.heads, *_number_heads(table)],
        list(_sections(table, columns, name)),
        info,
        data.fingerprint,
    )
    with st.container(horizontal=True):
        overview = attribute_overview(coverage, curves)
        classes = [info.class_names[label] for label in read.conversion(chosen).prototypes.classes]
        show_download("Attributes as CSV", overview, f"{file_name(chosen)}-attributes.csv")
        show_download("Matrix as CSV", coverage_table(coverage, classes), f"{file_name(chosen)}-coverage.csv")


def _choose_attribute(coverage: Coverage) -> str:
    """Show the choice of an attribute, which its row and a sentence then stand out by."""
    names = list(coverage.names)
    requested = picked(KIND)
    if requested and requested not in names:
        refuse(KIND, requested, "Choose one of the attributes listed.")

    def chosen() -> None:
        pick(KIND, st.session_state["attribute-choice"] or "")

    order = sorted(names, key=str.casefold)
    return (
        st.selectbox(
            "Find an attribute",
            order,
            order.index(requested) if requested in order else None,
            key="attribute-choice",
            placeholder="All attributes",
            width=340,
            on_change=chosen,
            format_func=claims.words,
        )
        or ""
    )


class _Prototypes:
    """A column per prototype: its picture, and by attribute how many of its images have it."""

    legend = (
        "Each column is a prototype. Filled square: its exemplar has the attribute. Colour: the share of the training "
        "images nearest to the prototype that have it."
    )

    def __init__(self, chosen: Selection) -> None:
        info = chosen.model
        prototypes = read.conversion(chosen).prototypes
        train = read.dataset(info).split("train")
        self.has = read.coverage(chosen).has
        self.images = images_by_prototype(train, prototypes)
        self.total = prototypes.count_all
        self.places = [prototype_name(p, prototypes.classes) for p in range(len(prototypes))]
        titles = [prototype_title(p, prototypes.classes, info.class_names) for p in range(len(prototypes))]
        self.names = [f"{title[0].lower()}{title[1:]}" for title in titles]
        colours = class_colours(len(info.class_names))
        self.heads = []
        for p, place in enumerate(self.places):
            card = prototype_card(info, prototypes, p)
            self.heads.append(
                Head(
                    note="ghost" if card.ghost else f"{card.share:.0%}",
                    picture=card.picture,
                    about=card.about,
                    group=info.class_names[prototypes.classes[p]],
                    colour=colours[prototypes.classes[p]],
                    conditions=[f"prototype:{place}", TRAINING] if self.total[p] else (),
                )
            )

    def cells(self, attribute: int, name: str) -> list[Cell]:
        """The cells of an attribute's row."""
        return [
            Cell(
                about=claims.of_prototype(self.names[p], name, bool(self.has[p, attribute]), images, total),
                conditions=[f"prototype:{place}", f"attribute:{name}", TRAINING] if images else (),
                tint=images / total if total else 0.0,
                mark=bool(self.has[p, attribute]),
            )
            for p, (place, images, total) in enumerate(
                zip(self.places, self.images[:, attribute].tolist(), self.total.tolist(), strict=True)
            )
        ]


class _Classes:
    """A column per class, where there are too many prototypes: by attribute, how many of them have it."""

    legend = "Each column is a class: how many of its prototypes have an exemplar with the attribute."

    def __init__(self, chosen: Selection, coverage: Coverage) -> None:
        info = chosen.model
        classes = read.conversion(chosen).prototypes.classes
        shown = max(1, MOST_CELLS // len(coverage.names))
        self.names = info.class_names[:shown]
        if shown < len(info.class_names):
            self.legend += f" The first {shown:,} of {len(info.class_names):,} classes; the CSV file has all."
        member = classes[None] == np.arange(len(self.names))[:, None]
        self.having = member.astype(np.int64) @ coverage.has.astype(np.int64)
        self.total = member.sum(1)
        colours = class_colours(len(info.class_names))
        self.heads = [
            Head(
                note=name,
                about=f"{total} prototypes of {name}",
                group=name,
                colour=colours[label],
                conditions=[f"class:{label}", TRAINING],
            )
            for label, (name, total) in enumerate(zip(self.names, self.total.tolist(), strict=True))
        ]

    def cells(self, attribute: int, name: str) -> list[Cell]:
        """The cells of an attribute's row."""
        return [
            Cell(
                text=f"{having} of {total}" if having else "",
                about=claims.of_class(self.names[label], name, having, total),
                conditions=[f"class:{label}", f"attribute:{name}", TRAINING],
                tint=having / total if total else 0.0,
            )
            for label, (having, total) in enumerate(
                zip(self.having[:, attribute].tolist(), self.total.tolist(), strict=True)
            )
        ]


def _number_heads(table: pd.DataFrame) -> list[Head]:
    heads = [
        Head(
            "Explained ↑",
            "η², up to 1",
            about="Share of the attribute's variance that the nearest prototype explains, adjusted for chance (it can "
            "be slightly below 0). Near 0, a prototype has the attribute by chance.",
        )
    ]
    if "first_k" in table:
        heads.append(
            Head(
                "First k ↓",
                "per class",
                about="Smallest number of prototypes per class that captures the attribute (median over seeds); a dash "
                "if none up to 20 does for half of the seeds, or if the curves are not computed yet.",
            )
        )
    return heads


def _sections(table: pd.DataFrame, columns: _Prototypes | _Classes, name: str) -> Sequence[Section]:
    """The attributes by how they compare with chance, the most frequent first; those that no prototype has on top."""
    places = {attribute: place for place, attribute in enumerate(table["attribute"])}
    verdict = np.array([claims.often(row) for row in table.to_dict("records")])
    caught = table["captured"].to_numpy(bool)
    titles = {
        "missed": (~caught, "No prototype has it"),
        "more": (caught & (verdict == "more"), "More prototypes than by chance"),
        "fewer": (caught & (verdict == "fewer"), "Fewer prototypes than by chance"),
        "within": (caught & (verdict == "within"), "As many prototypes as by chance"),
    }
    sections = []
    for rows, title in titles.values():
        shown = table[rows].sort_values("frequency", ascending=False, kind="stable").to_dict("records")
        if shown:
            of_title = [_row(row, columns, places[row["attribute"]], name) for row in shown]
            sections.append(Section(of_title, title, f"{len(shown)} of {len(table)} attributes"))
    return sections


def _row(row: Mapping[Any, Any], columns: _Prototypes | _Classes, place: int, picked_name: str) -> Row:
    name = row["attribute"]
    numbers = [Cell("" if np.isnan(row["told_apart"]) else f"{row['told_apart']:.2f}")]
    if "first_k" in row:
        numbers.append(Cell("–" if np.isnan(row["first_k"]) else f"{row['first_k']:g}"))
    return Row(
        claims.words(name),
        [*columns.cells(place, name), *numbers],
        note=f"{row['frequency']:.1%} of images; {row['prototypes']} (chance {row['expected']:.1f})",
        about=f"{claims.words(name)}: open its {row['images']:,} training images",
        conditions=[f"attribute:{name}", TRAINING] if row["images"] else (),
        picked=name == picked_name,
    )


# ---- pairs ----------------------------------------------------------------------------------------------------------


def show_pairs(chosen: Selection, coverage: Coverage) -> None:
    """Show which pairs of attributes have too few prototypes, or too many."""
    table = subgroup_table(coverage)
    which = st.segmented_control(
        "Pairs of attributes",
        list(WHICH),
        format_func=WHICH.__getitem__,
        default="under",
        required=True,
        key="subgroups",
        label_visibility="collapsed",
        bind=bound_to("subgroups", WHICH, "under"),
    )
    st.caption(claims.pairs_against_chance(table, metrics.simultaneous_limit(coverage.chance.deviation_pairs)))
    shown = table.head(MOST_PAIRS) if which == "under" else table.iloc[::-1].head(MOST_PAIRS)
    heads = [
        Head("Images", "training split"),
        Head("Prototypes", "with both"),
        Head("By chance", "on average"),
        Head("Surplus", "prototypes", about="Prototypes minus those expected by chance; below 0, there are too few."),
        Head("Verdict"),
    ]
    rows = []
    for row in shown.to_dict("records"):
        conditions = [f"attribute:{row['attribute']}", f"attribute:{row['other']}", TRAINING]
        verdict = claims.OFTEN[claims.often(row)]
        cells = (f"{row['images']:,}", str(row["prototypes"]), f"{row['expected']:.1f}", signed(row["surplus"]))
        rows.append(
            Row(
                claims.words(row["subgroup"]),
                [*(Cell(text) for text in cells), Cell(verdict, strong=bool(row["beyond_chance"]))],
                about=f"{claims.words(row['subgroup'])}: open its {row['images']:,} training images",
                conditions=conditions,
            )
        )
    about = f"{WHICH[which]} pairs of attributes"
    state = read.dataset(chosen.model).fingerprint
    show_matrix("pairs", about, "Pair", heads, [Section(rows)], chosen.model, state, height=22)
    show_download("Pairs as CSV", table, f"{file_name(chosen)}-subgroups.csv")


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, a minus as wide as a plus; 0 has none."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def file_name(chosen: Selection) -> str:
    """The beginning of the names of this page's files."""
    return f"{chosen.model.name}-{chosen.source.slug}"
