"""A figure on a page."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st


def show_figure(key: str, figure: go.Figure, about: str) -> None:
    """Show a figure without a toolbar.

    Args:
        key: names it on its page.
        figure: what is shown.
        about: what it shows, for those who do not see it.
    """
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=about)
