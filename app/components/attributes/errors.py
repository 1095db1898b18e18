"""The tab Errors: how often predictions are right for each attribute's test images, and for each pair's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app import read
from app.claims import attributes as claims
from app.components.attributes.covered import file_name
from app.components.shared.downloads import show_download
from app.components.shared.matrix import Bar, Cell, Head, Row, Section, show_matrix
from app.selection import Selection
from kmex_core import metrics
from kmex_core.analysis.tables.attributes import LEAST_IMAGES, group_families

TEST = "split:test"
TITLES = {
    "worse": "Less accurate than by chance",
    "better": "More accurate than by chance",
    "within": "Within chance",
}


def show_errors(chosen: Selection) -> None:
    """Show the accuracy of the groups, each attribute with its pairs folded below it, the worst first."""
    info = chosen.model
    table = read.accuracy_table(chosen)
    data = read.dataset(info)
    if len(table) == 0:
        st.caption(f"No attribute occurs in at least {LEAST_IMAGES} test images.")
        return
    overall = metrics.accuracy(read.conversion(chosen).test_predicted, data.split("test").labels)
    st.markdown(f"{claims.least_accurate(table, chosen.title, overall)}  \n{claims.groups_against_chance(table)}")
    st.caption(
        f"Dot: accuracy of {chosen.title}; line: its 95 % Wilson interval"
        f"{'; hollow square: black box' if 'accuracy_black_box' in table else ''}. Grey band: chance, if as many "
        f"errors fell on random test images of the same classes; in 95 % of {metrics.DRAWS} draws, all {len(table):,} "
        f"groups are inside their bands at once. Groups have at least {LEAST_IMAGES} test images; the order is by the "
        "upper end of the interval, so small groups do not dominate. Click a group or a mark to open its images in "
        "Explore."
    )
    axis = math.floor(10 * float(table[["low", "chance_low"]].min().min())) / 10
    show_matrix(
        "groups",
        f"Accuracy of {len(table):,} groups of test images by attribute",
        "Group",
        _heads(chosen.title, axis, "accuracy_black_box" in table),
        list(_sections(table, chosen.title, axis)),
        info,
        data.fingerprint,
    )
    show_download("All groups as CSV", table, f"{file_name(chosen)}-accuracy.csv")


def _heads(title: str, axis: float, beside: bool) -> list[Head]:
    return [
        Head("Accuracy ↑", title),
        Head("Interval and chance", f"{axis:.0%} to 100 %"),
        Head("By chance", "95 % of draws"),
        Head("Wrong ↓", "of test images"),
        *([Head("Black box ↑", "accuracy")] if beside else []),
        Head("Verdict"),
    ]


def _sections(table: pd.DataFrame, title: str, axis: float) -> Sequence[Section]:
    """Families by their worst verdict: what is worse than chance is never folded away below what is not."""
    rows = table.to_dict("records")
    families: dict[str, list[Row]] = {verdict: [] for verdict in TITLES}
    all_families = group_families(table)
    for single, pairs in all_families:
        verdicts = [rows[group]["verdict"] for group in (single, *pairs)]
        verdict = next(verdict for verdict in TITLES if verdict in verdicts)
        name = rows[single]["attribute"]
        inner = [_row(rows[pair], title, axis, f"+ {claims.words(_partner(rows[pair], name))}") for pair in pairs]
        worse = verdicts[1:].count("worse")
        groups = "1 group" if len(pairs) == 1 else f"{len(pairs)} groups"
        fold = f"with another attribute: {groups}{f', {worse} below chance' if worse else ''}"
        families[verdict].append(_row(rows[single], title, axis, claims.words(name), fold if pairs else "", inner))
    return [
        Section(shown, TITLES[verdict], f"{len(shown)} of {len(all_families)} attributes, with their pairs")
        for verdict, shown in families.items()
        if shown
    ]


def _partner(row: Mapping[Any, Any], name: str) -> str:
    return str(row["other"] if row["attribute"] == name else row["attribute"])


def _row(row: Mapping[Any, Any], title: str, axis: float, name: str, fold: str = "", inner: Sequence[Row] = ()) -> Row:
    group = [f"attribute:{attribute}" for attribute in (row["attribute"], row["other"]) if attribute]
    wrong = round(row["images"] * (1 - row["accuracy"]))
    about = claims.of_group(row, title)
    beside = row.get("accuracy_black_box")

    def placed(share: float) -> float:
        return max(0.0, (share - axis) / (1 - axis))

    bar = Bar(
        placed(row["accuracy"]),
        placed(row["low"]),
        placed(row["high"]),
        placed(row["chance_low"]),
        placed(row["chance_high"]),
        None if beside is None else placed(beside),
    )
    return Row(
        name,
        [
            Cell(f"{row['accuracy']:.1%}"),
            Cell(about=about, conditions=[*group, TEST], bar=bar),
            Cell(f"{row['chance_low']:.0%} to {row['chance_high']:.0%}"),
            Cell(
                f"{wrong:,} of {row['images']:,}",
                about=f"{claims.words(row['group'])}: open the {wrong:,} wrong test images",
                conditions=[*group, "wrong", TEST] if wrong else (),
            ),
            *([] if beside is None else [Cell(f"{beside:.1%}")]),
            Cell(claims.VERDICT[row["verdict"]], strong=row["verdict"] != "within"),
        ],
        about=f"{claims.words(row['group'])}: open its {row['images']:,} test images",
        conditions=[*group, TEST],
        fold=fold,
        rows=inner,
    )
