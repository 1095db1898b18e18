"""The choice of classes that a page shows."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from app.links import bound, one_of
from app.wording import A_CLASS
from kmex_core.models.info import ModelInfo


def choose_classes(info: ModelInfo, width: int | Literal["stretch"] = "stretch") -> list[int] | None:
    """Show the class filter; None for all classes."""
    names = st.multiselect(
        "Classes",
        list(info.class_names),
        key="classes",
        bind=bound("classes", one_of(info.class_names), A_CLASS, [], several=True),
        placeholder="All classes",
        width=width,
        help="Show only these classes; leave empty to show all.",
    )
    return [info.class_names.index(name) for name in names] or None
