"""The confusion matrix and the accuracy of each class: every count leads to its images on the page Explore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app import read
from app.claims import audit
from app.components.shared.downloads import show_download
from app.components.shared.explore_links import show_explore_links
from app.components.shared.matrix import Cell, Head, Row, Section, show_matrix
from app.links import bound_to
from app.selection import Selection
from kmex_core import metrics
from kmex_core.analysis.tables.evaluation import confusion_table
from kmex_core.base.plain_text import table_csv

MOST_CLASSES = 16  # of a matrix; of more, the classes with the lowest accuracy are listed
LISTED = 40
MISTAKES = 5


def show_mistakes(chosen: Selection) -> None:
    """Show the most frequent mistakes as links to their images."""
    names, confused = chosen.model.class_names, _confused(chosen, "predicted")
    wrong = np.where(np.eye(len(names), dtype=bool), 0, confused)
    most = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    pairs = [(int(row), int(column)) for row, column in zip(*np.unravel_index(most, wrong.shape), strict=True)]
    pairs = [pair for pair in pairs if wrong[pair]]
    st.markdown(audit.mistakes([int(wrong[pair]) for pair in pairs], int(wrong.sum())))
    show_explore_links(
        [
            (f"{names[row]} as {names[column]} · {_images(int(wrong[row, column]))}", _pair("predicted", row, column))
            for row, column in pairs
        ]
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
        confused, many = _confused(chosen, by), len(info.class_names) > MOST_CLASSES
        st.caption(
            "Test images by class (row) and prediction (column). Mistakes are shaded. Click a count to see its images."
            + (f" The {LISTED} of {len(info.class_names)} classes with the lowest accuracy; the CSV has all." * many)
        )
        heads, rows = (_list if many else _square)(confused, info.class_names, by)
        about, state = f"Confusion matrix of {predictors[by]}", read.dataset(info).fingerprint
        show_matrix("confusion", about, "Class", heads, [Section(rows)], info, state)
        counts = confusion_table(confused, info.class_names)
        show_download(
            "Confusion matrix as CSV", lambda: table_csv(counts, index=True), f"{info.name}-confusion-{by}.csv"
        )


def _confused(chosen: Selection, by: str) -> np.ndarray:
    conversion, labels = read.conversion(chosen), read.dataset(chosen.model).split("test").labels
    predicted = conversion.test_predicted if by == "predicted" else conversion.test_black_box
    return metrics.confusion(predicted, labels, len(chosen.model.class_names))


def _pair(by: str, row: int, column: int) -> tuple[str, str, str]:
    """The conditions of the test images of a class that are taken for a class."""
    return f"class:{row}", f"{'blackbox' if by == 'black_box' else 'predicted'}:{column}", "split:test"


def _square(confused: np.ndarray, names: Sequence[str], by: str) -> tuple[list[Head], list[Row]]:
    """The matrix: a row per class, a column per predicted class, and the class's accuracy."""
    shares = confused / np.maximum(1, confused.sum(1, keepdims=True))
    most = max(float(np.where(np.eye(len(names), dtype=bool), 0, shares).max(initial=0)), 1e-9)

    def cell(row: int, column: int) -> Cell:
        count, share = int(confused[row, column]), float(shares[row, column])
        if not count:
            return Cell()
        about = f"{names[row]} predicted as {names[column]}: {share:.1%}, {_images(count)}"
        return Cell(f"{count:,}", about, _pair(by, row, column), 0.0 if row == column else -share / most)

    columns = range(len(names))
    rows = [
        _row(confused, names, row, [*(cell(row, column) for column in columns), _accuracy(confused, names, row, by)])
        for row in columns
    ]
    heads = [
        Head(name, about=f"All test images predicted as {name}", conditions=_pair(by, 0, column)[1:])
        for column, name in enumerate(names)
    ]
    return [*heads, Head("Accuracy ↑")], rows


def _list(confused: np.ndarray, names: Sequence[str], by: str) -> tuple[list[Head], list[Row]]:
    """The classes with the lowest accuracy, each with what it is most often taken for."""
    accuracy = np.nan_to_num(metrics.class_accuracy(confused), nan=np.inf)
    rows = []
    for row in np.argsort(accuracy, kind="stable")[:LISTED].tolist():
        wrong = np.where(np.arange(len(names)) == row, 0, confused[row])
        taken = [column for column in np.argsort(-wrong, kind="stable")[:3].tolist() if wrong[column]]
        cells = [
            Cell(
                f"{names[column]}: {wrong[column]:,}",
                f"{names[row]} predicted as {names[column]}: {_images(int(wrong[column]))}",
                _pair(by, row, column),
            )
            for column in taken
        ]
        cells += [Cell()] * (3 - len(taken))
        rows.append(_row(confused, names, row, [_accuracy(confused, names, row, by), *cells]))
    return [Head(title) for title in ("Accuracy ↑", "Most often taken for", "Second", "Third")], rows


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"


def _row(confused: np.ndarray, names: Sequence[str], row: int, cells: Sequence[Cell]) -> Row:
    count = int(confused[row].sum())
    about = f"All {count:,} test images of {names[row]}"
    return Row(names[row], cells, about=about, conditions=(f"class:{row}", "split:test") if count else ())


def _accuracy(confused: np.ndarray, names: Sequence[str], row: int, by: str) -> Cell:
    """A class's accuracy; it leads to its mistakes, as far as Explore has them: those of the selected model."""
    count, right = int(confused[row].sum()), int(confused[row, row])
    if not count:
        return Cell("–")
    about = f"The {count - right:,} mistakes among the {count:,} test images of {names[row]}"
    wrong = by == "predicted" and right < count
    return Cell(
        f"{right / count:.1%}", about if wrong else "", (f"class:{row}", "wrong", "split:test") if wrong else ()
    )
