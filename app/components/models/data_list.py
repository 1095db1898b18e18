"""The data sets in the store: those of its models, and uploads."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import read
from kmex_core.stages.data_sets import DataSetEntry, data_sets


def show_data() -> None:
    """Show all data sets as a table."""
    entries = data_sets(read.store(), read.models())
    if not entries:
        st.info("The store has no data sets yet.")
        return
    st.dataframe(
        _table(entries),
        hide_index=True,
        alt="The data sets of models in the store, and uploads",
        column_config={
            "Images": st.column_config.NumberColumn(
                format="localized", help="In all splits. Empty until a model of the data set is first opened."
            ),
            "Size": st.column_config.TextColumn(help="Size of an upload."),
            "Used by": st.column_config.ListColumn(help="Models trained on it."),
        },
    )


def _table(entries: list[DataSetEntry]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "Name": [entry.title for entry in entries],
            "Images": pd.array([entry.images for entry in entries], dtype="Int64"),
            "Classes": [" or ".join(f"{count:,}" for count in entry.classes) for entry in entries],
            "Size": ["" if entry.bytes is None else f"{entry.bytes / 2**20:,.1f} MiB" for entry in entries],
            "Uploaded": [entry.uploaded for entry in entries],
            "Used by": [list(entry.models) for entry in entries],
        }
    )
    return table if any(entry.uploaded for entry in entries) else table.drop(columns=["Size", "Uploaded"])
