"""The models of the store as a list that opens them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.wording import message
from kmex_core.analysis.comparison import CAVEAT
from kmex_core.base.plain_text import markdown
from kmex_core.data import registry as datasets
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS

MOST = 12


def newest_first(infos: Sequence[ModelInfo]) -> list[ModelInfo]:
    """Models by when they were made, the last first, then the demos.

    Args:
        infos: models in display order, which those of one date or of an unknown one keep.
    """
    own = [info for info in infos if not info.embedded]
    dated = sorted(own, key=lambda info: str(info.made_by.get("date", "")), reverse=True)
    return [*dated, *(info for info in infos if info.embedded)]


def show_models(infos: Sequence[ModelInfo]) -> None:
    """Show the newest models, each as a link to Explore."""
    shown = newest_first(infos)[:MOST]
    if not shown:
        return
    st.header("Models", anchor=False)
    accuracy = any(info.accuracy is not None for info in shown)
    st.caption(
        "Each opens in Explore."
        + (" The percentage is the model's own accuracy: the share of test images it classifies correctly." * accuracy)
    )
    with st.container(key="home-models", gap="small"):
        for info in shown:
            st.page_link(
                "views/explore.py",
                label=_line(info),
                icon=":material/explore:",
                query_params={"model": info.name},
            )
    for caveat in dict.fromkeys(info.caveat for info in shown if info.caveat):
        st.caption(message(f"{CAVEAT} {caveat}"))
    st.page_link(
        "views/models.py",
        label=f"All {len(infos):,} models, and the data sets" if len(infos) > MOST else "Data and models",
        icon=":material/inventory_2:",
    )


def _line(info: ModelInfo) -> str:
    kind = "" if info.kind == "blackbox" else f"{MODEL_KINDS[info.kind].title}, "
    accuracy = [] if info.accuracy is None else [f"{info.accuracy:.1%}{f' {CAVEAT}' if info.caveat else ''}"]
    named = [markdown(datasets.title(info.dataset)), markdown(f"{kind}{info.backbone}")]
    return " · ".join([f"**{markdown(info.name)}**", *named, *accuracy])
