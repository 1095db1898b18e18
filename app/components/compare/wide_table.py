"""A table whose first column stays while the others scroll, and whose headings wrap."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st


def show_wide_table(about: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> None:
    """Show texts in rows and columns.

    Args:
        about: what the table shows, for those who do not see it.
        columns: a heading and its meaning for each, the first column's too.
        rows: a text for each column.
    """
    head = "".join(f'<th scope="col" title="{escape(meaning)}">{escape(title)}</th>' for title, meaning in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    st.html(
        f'<div class="kx-table" role="region" aria-label="{escape(about)}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
