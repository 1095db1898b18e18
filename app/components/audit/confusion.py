"""The confusion matrix and the accuracy of each class: every count leads to its images on the page Explore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import streamlit as st

from app import read
from app.claims import audit
from app.components.shared.downloads import show_download
from app.components.shared.web import component
from app.explore_links import SELECT, explore_address, explore_query
from app.links import bound_to
from app.selection import Selection
from app.wording import interval
from kmex_core import metrics
from kmex_core.analysis.tables.evaluation import confusion_table
from kmex_core.base.plain_text import markdown, table_csv

MOST_CLASSES = 16  # of a matrix; of more, the classes with the lowest accuracy are listed
LISTED = 40
MISTAKES = 5

_matrix = component("matrix")


@dataclass
class Links:
    """Cells that lead to Explore, by what a click on one gives."""

    conditions: dict[str, Sequence[str]] = field(default_factory=dict)

    def cell(self, text: str, about: str = "", shade: float = 0.0, conditions: Sequence[str] = ()) -> dict[str, object]:
        """A cell; without conditions it leads nowhere."""
        name = str(len(self.conditions)) if conditions else ""
        if conditions:
            self.conditions[name] = conditions
        href = explore_address(*conditions) if conditions else ""
        return {"text": text, "about": about, "id": name, "href": href, "shade": shade}


def show_mistakes(chosen: Selection) -> None:
    """Show the most frequent mistakes as links to their images."""
    names, confused = chosen.model.class_names, _confused(chosen, "predicted")
    wrong = np.where(np.eye(len(names), dtype=bool), 0, confused)
    most = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    pairs = [(int(row), int(column)) for row, column in zip(*np.unravel_index(most, wrong.shape), strict=True)]
    pairs = [pair for pair in pairs if wrong[pair]]
    st.markdown(audit.mistakes([int(wrong[pair]) for pair in pairs], int(wrong.sum())))
    with st.container(horizontal=True):
        for row, column in pairs:
            st.page_link(
                "views/explore.py",
                label=f"{markdown(names[row])} → {markdown(names[column])}: {wrong[row, column]:,}",
                icon=":material/scatter_plot:",
                query_params=explore_query(*_pair("predicted", row, column)),
            )


def show_confusion(chosen: Selection) -> None:
    """Show the confusion matrix and each class's accuracy, of the model or of its black box."""
    info = chosen.model
    with st.expander("Confusion matrix", icon=":material/grid_on:"):
        predictors = {"predicted": chosen.title} | ({"black_box": "Black box"} if chosen.has_black_box else {})
        by = st.segmented_control(
            "Predicted by",
            list(predictors),
            format_func=predictors.__getitem__,
            default="predicted",
            required=True,
            key="by",
            help="The model whose predictions are counted.",
            bind=bound_to("by", predictors, "predicted"),
        )
        confused, links = _confused(chosen, by), Links()
        many = len(info.class_names) > MOST_CLASSES
        data = (_list if many else _square)(confused, info.class_names, by, links)
        st.caption(
            "Test images by class and what they are taken for; mistakes are shaded. Click a count to see its images."
            + (f" The {LISTED} of {len(info.class_names)} classes with the lowest accuracy; the CSV has all." * many)
        )
        about = f"Confusion matrix of {predictors[by]}"
        picked = _matrix(key="confusion", data={"about": about, **data}, on_picked_change=lambda: None).picked
        table = confusion_table(confused, info.class_names)
        show_download(
            "Confusion matrix as CSV", lambda: table_csv(table, index=True), f"{info.name}-confusion-{by}.csv"
        )
    if picked in links.conditions:
        # the sidebar's parameters come along by themselves
        st.switch_page("views/explore.py", query_params={SELECT: list(links.conditions[picked])})


def _confused(chosen: Selection, by: str) -> np.ndarray:
    conversion, labels = read.conversion(chosen), read.dataset(chosen.model).split("test").labels
    predicted = conversion.test_predicted if by == "predicted" else conversion.test_black_box
    return metrics.confusion(predicted, labels, len(chosen.model.class_names))


def _pair(by: str, row: int, column: int) -> tuple[str, str, str]:
    """The conditions of the test images of a class that are taken for a class."""
    return f"class:{row}", f"{'blackbox' if by == 'black_box' else 'predicted'}:{column}", "split:test"


def _square(confused: np.ndarray, names: Sequence[str], by: str, links: Links) -> dict[str, object]:
    """The matrix: a row per class, a column per predicted class, and the class's accuracy."""
    most = max(1.0, float(np.where(np.eye(len(names), dtype=bool), 0, _shares(confused)).max(initial=0)) * 100)

    def cell(row: int, column: int) -> dict[str, object]:
        count = int(confused[row, column])
        share = _shares(confused)[row, column] * 100
        about = f"{names[row]} predicted as {names[column]}: {count:,} images ({share:.1f} %)"
        shade = 0.0 if row == column else share / most
        return links.cell(f"{count:,}" if count else "", about, shade, _pair(by, row, column) if count else ())

    rows = [
        {
            "header": _class(confused, names, row, links),
            "cells": [*(cell(row, column) for column in range(len(names))), _accuracy(confused, names, row, by, links)],
        }
        for row in range(len(names))
    ]
    return {"corner": "Class", "over": "Predicted class", "columns": [*names, "Accuracy ↑"], "rows": rows}


def _list(confused: np.ndarray, names: Sequence[str], by: str, links: Links) -> dict[str, object]:
    """The classes with the lowest accuracy, each with what it is most often taken for."""
    accuracy = np.nan_to_num(metrics.class_accuracy(confused), nan=np.inf)
    rows = []
    for row in np.argsort(accuracy, kind="stable")[:LISTED].tolist():
        wrong = np.where(np.arange(len(names)) == row, 0, confused[row])
        taken = [column for column in np.argsort(-wrong, kind="stable")[:3].tolist() if wrong[column]]
        cells = [
            links.cell(
                f"{names[column]}: {wrong[column]:,}",
                f"{names[row]} predicted as {names[column]}: {wrong[column]:,} images",
                0.0,
                _pair(by, row, column),
            )
            for column in taken
        ]
        cells += [links.cell("")] * (3 - len(taken))
        header = _class(confused, names, row, links)
        rows.append({"header": header, "cells": [_accuracy(confused, names, row, by, links), *cells]})
    columns = ["Accuracy ↑", "Most often taken for", "Second", "Third"]
    return {"corner": "Class", "over": "", "columns": columns, "rows": rows}


def _shares(confused: np.ndarray) -> np.ndarray:
    shares: np.ndarray = confused / np.maximum(1, confused.sum(1, keepdims=True))
    return shares


def _class(confused: np.ndarray, names: Sequence[str], row: int, links: Links) -> dict[str, object]:
    count = int(confused[row].sum())
    about = f"All {count:,} test images of {names[row]}"
    return links.cell(names[row], about, 0.0, (f"class:{row}", "split:test") if count else ())


def _accuracy(confused: np.ndarray, names: Sequence[str], row: int, by: str, links: Links) -> dict[str, object]:
    """A class's accuracy; it leads to its mistakes, as far as Explore has them: those of the selected model."""
    count, right = int(confused[row].sum()), int(confused[row, row])
    if not count:
        return links.cell("–")
    low, high = metrics.wilson_interval(right / count, count)
    about = f"{names[row]}: {right:,} of {count:,} correct ({interval(low, high)})"
    wrong = by == "predicted" and right < count
    conditions = (f"class:{row}", "wrong", "split:test") if wrong else ()
    return links.cell(f"{right / count:.1%}", f"{about} See its mistakes." if wrong else about, 0.0, conditions)
