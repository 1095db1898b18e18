"""The button under a figure or table that keeps its data."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

KINDS = {
    "csv": "text/csv", "html": "text/html", "tex": "application/x-tex", "png": "image/png", "zip": "application/zip",
    "safetensors": "application/octet-stream",
}  # fmt: skip


def show_download(
    label: str, content: pd.DataFrame | str | bytes | Callable[[], str | bytes], name: str, about: str | None = None
) -> None:
    """Show a download button.

    Args:
        label: what it says.
        content: a table (kept as CSV without its index), a file's content, or what makes it when asked.
        name: the file's, with a suffix of `KINDS`.
        about: its help text.
    """
    made = content.to_csv(index=False) if isinstance(content, pd.DataFrame) else content
    kind = KINDS[name.rpartition(".")[2]]
    st.download_button(label, made, name, kind, icon=":material/download:", on_click="ignore", help=about)
