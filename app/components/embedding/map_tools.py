"""Around the embedding map: the search, tables of what it shows, and downloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app import read
from app.components.embedding.map_selection import KIND, select_on_map
from app.components.shared.downloads import show_download
from app.components.shared.embedding_map import SHOWN, map_figure, predictions, shown_images
from app.links import bound_switch, bound_to, pick
from app.selection import Selection
from app.wording import GHOST
from kmex_core.analysis.tables.embedding_map import projection_table, prototype_places
from kmex_core.analysis.types import Projection
from kmex_core.base.plain_text import table_csv

MOST_ROWS = 2000


def choose_shown(chosen: Selection) -> str:
    """Show the choice of which images are shown, a key of `SHOWN`."""
    shown = {name: title for name, title in SHOWN.items() if name != "disagree" or chosen.has_black_box}
    return st.segmented_control(
        "Show",
        list(shown),
        format_func=SHOWN.__getitem__,
        default="all",
        required=True,
        key="show",
        bind=bound_to("show", shown, "all"),
        width="content",
        help=f"All images, those that {chosen.title} misclassifies"
        + (", or those on which KMEx and the black box disagree." if chosen.has_black_box else "."),
    )


def find_image(projection: Projection) -> None:
    """Show the search by index."""

    def select() -> None:
        if st.session_state["find"] is not None:
            pick(KIND, f"{st.session_state['find-in']}-{int(st.session_state['find'])}")

    place = st.selectbox("Find in", ["train", "test"], key="find-in", format_func=str.capitalize, width=110)
    most = len(projection.train if place == "train" else projection.test) - 1
    st.number_input(
        "Number",
        0,
        max(0, most),
        None,
        key="find",
        on_change=select,
        placeholder=f"0 to {most:,}",
        width=150,
        help="Position in the split. The image is marked, and its card opens.",
    )


def show_table(
    chosen: Selection, projection: Projection, which: str, classes: Sequence[int] | None, test: bool
) -> None:
    """Show the same data as tables, on request; choosing a row selects it on the embedding map."""
    if not st.toggle("Show as table", key="table", bind=bound_switch("table", False)):
        return
    images, prototypes = st.tabs(["Images", "Prototypes"])
    with images:
        _show_images(chosen, projection, which, classes, test)
    with prototypes:
        _show_prototypes(chosen, classes)


def _show_prototypes(chosen: Selection, classes: Sequence[int] | None) -> None:
    info = chosen.model
    prototypes = read.conversion(chosen).prototypes
    table = prototype_places(prototypes, read.prototype_places(chosen), info.class_names)
    if classes is not None:
        table = table[np.isin(prototypes.classes, list(classes))]

    def choose(row: int) -> None:
        select_on_map(chosen, f"prototype-{table['prototype'].iloc[row]}")

    _show_table(
        "prototype-table",
        table,
        choose,
        "The prototypes on the embedding map with class, importance and position",
        {
            "prototype": st.column_config.NumberColumn("Prototype", help="Number of the prototype."),
            "class": st.column_config.TextColumn("Class"),
            "ghost": st.column_config.CheckboxColumn("Ghost", help=GHOST),
            "share": st.column_config.NumberColumn(
                "Importance",
                format="percent",
                help="Share of the class's training images that it is the nearest prototype of.",
            ),
            "count": st.column_config.NumberColumn("Images", format="localized", help="Number of those images."),
            "others": st.column_config.NumberColumn(
                "Of other classes",
                format="localized",
                help="Training images of other classes that it is the nearest prototype of.",
            ),
            "picture": st.column_config.NumberColumn("Exemplar", help="Number of the training image."),
            "x": st.column_config.NumberColumn("UMAP 1", format="%.2f"),
            "y": st.column_config.NumberColumn("UMAP 2", format="%.2f"),
        },
    )


def _show_images(
    chosen: Selection, projection: Projection, which: str, classes: Sequence[int] | None, test: bool
) -> None:
    rows = shown_images(chosen, projection, which, classes, test)
    if len(rows) > MOST_ROWS:
        st.caption(f"First {MOST_ROWS:,} of {len(rows):,} images. Filter by class to see others.")
    table = projection_table(projection, chosen.model.class_names, rows[:MOST_ROWS], predictions(chosen))

    def choose(row: int) -> None:
        pick(KIND, f"{table['split'].iloc[row]}-{table['index'].iloc[row]}")

    _show_table(
        "map-table",
        table,
        choose,
        "The images on the embedding map with class and predictions",
        {
            "split": st.column_config.TextColumn("Split"),
            "index": st.column_config.NumberColumn("Number", help="Position in the split."),
            "class": st.column_config.TextColumn("Class"),
            "predicted": st.column_config.TextColumn(f"{chosen.title} predicts"),
            "black_box": st.column_config.TextColumn("Black box predicts"),
            "x": st.column_config.NumberColumn("UMAP 1", format="%.2f"),
            "y": st.column_config.NumberColumn("UMAP 2", format="%.2f"),
        },
    )


def _show_table(
    key: str, table: pd.DataFrame, choose: Callable[[int], None], alt: str, columns: dict[str, Any]
) -> None:
    """Show a table of which one row can be chosen."""

    def chosen_row() -> None:
        if rows := st.session_state[key]["selection"]["rows"]:
            choose(rows[0])

    st.dataframe(
        table,
        key=key,
        height=320,
        hide_index=True,
        on_select=chosen_row,
        selection_mode="single-row",
        alt=alt,
        column_config=columns,
    )


def show_downloads(
    chosen: Selection, projection: Projection, which: str, classes: Sequence[int] | None, test: bool
) -> None:
    """Show the buttons that download what the embedding map shows."""

    def csv() -> bytes:
        rows = shown_images(chosen, projection, which, classes, test)
        return table_csv(projection_table(projection, chosen.model.class_names, rows, predictions(chosen))).encode()

    def html() -> bytes:
        rows = shown_images(chosen, projection, which, classes, test)
        return str(map_figure(chosen, projection, rows).to_html(include_plotlyjs=True)).encode()

    name = f"{chosen.model.name}-map"
    with st.container(horizontal=True):
        show_download("Embedding map as CSV", csv, f"{name}.csv")
        show_download(
            "Embedding map as HTML",
            html,
            f"{name}.html",
            "An interactive Plotly figure that works offline.",
        )
