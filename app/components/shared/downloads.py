"""The button under a figure or table that downloads its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from kmex_core.base.plain_text import table_csv

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "csv": "text/csv",
    "html": "text/html",
    "md": "text/markdown",
    "tex": "application/x-tex",
    "png": "image/png",
    "zip": "application/zip",
    "safetensors": "application/octet-stream",
}


def show_download(
    label: str, content: pd.DataFrame | Callable[[], str | bytes], name: str, about: str | None = None
) -> None:
    """Show a download button. The file is made when it is clicked, not at every run of the page.

    Args:
        label: what it says.
        content: a table (saved as CSV without its index), or what makes the file's content.
        name: the file's, with a suffix of `KINDS`.
        about: its help text.
    """

    def file_content() -> str | bytes:
        return content() if callable(content) else table_csv(content)

    kind = KINDS[name.rpartition(".")[2]]
    st.download_button(label, file_content, name, kind, icon=":material/download:", on_click="ignore", help=about)
