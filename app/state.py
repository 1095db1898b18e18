"""What is selected in the sidebar: kept across pages and in the link."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode

import streamlit as st

from app import cache
from kmex_core import datasets
from kmex_core.results import KINDS, ModelInfo

KS = (1, 20)
DEFAULT_K = 5
_KEY = "_selection"


@dataclass(frozen=True)
class Selection:
    """A model of the store and the number of prototypes per class."""

    model: ModelInfo
    k: int
    seed: int = 0


def choose() -> None:
    """Show the sidebar's widgets and remember what they select."""
    models = cache.models()
    with st.sidebar:
        if not models:
            st.warning("There is no model yet. Train one: `python -m kmex_core train --help`.")
            st.stop()
        names = sorted({model.dataset for model in models}, key=lambda name: (name != "digits", name))
        titles = [_title(name, names) for name in names]
        title = st.selectbox(
            "Data set",
            titles,
            key="dataset",
            bind="query-params",
            help="The images that the models below were trained on.",
        )
        dataset = names[titles.index(title)]
        of_dataset = [model.name for model in models if model.dataset == dataset]
        name = st.selectbox(
            "Model",
            of_dataset,
            key="model",
            bind="query-params",
            help="A trained classifier in the store. `python -m kmex_core train` makes more.",
        )
        model = next(model for model in models if model.name == name)
        if model.kind != "blackbox":
            st.caption(
                f"**{name}** is a {KINDS[model.kind]}. What the pages call the black box is this model itself; KMEx is "
                "made of its embedding, and replaces its own prototypes."
            )
        k = st.slider(
            "Prototypes per class",
            *KS,
            DEFAULT_K,
            key="k",
            bind="query-params",
            help="How many examples stand for each class. More show finer differences within a class, and bring the "
            "KMEx prediction closer to the black box's; fewer are quicker to take in.",
        )
    st.session_state[_KEY] = Selection(model, k)


def _title(name: str, names: list[str]) -> str:
    """A data set's title; its whole path where two have the same."""
    title = datasets.title(name)
    return name if [datasets.title(other) for other in names].count(title) > 1 else title


def query(**more: str | int) -> dict[str, str]:
    """What a link to a page needs to show the same selection, and `more`."""
    chosen = selection()
    kept = {"model": chosen.model.name, "k": chosen.k, **more}
    if "dataset" in st.query_params:
        kept["dataset"] = st.query_params["dataset"]
    return {name: str(value) for name, value in kept.items()}


def address(page: str, **more: str | int) -> str:
    """The address of a page that shows the same selection, relative to any page."""
    return f"{page}?{urlencode(query(**more))}"


def picked(kind: str) -> str:
    """What the link says was picked on this page, "" for nothing."""
    return str(st.query_params.get(kind, ""))


def pick(kind: str, name: str) -> None:
    """Remember in the link what was picked on this page; "" forgets it."""
    if name:
        st.query_params[kind] = name
    else:
        st.query_params.pop(kind, None)


def prototype_name(p: int, k: int) -> str:
    """What names a prototype in links: its class and its place in it, so that it means the same for another k."""
    return f"{p // k}.{p % k}"


def prototype_index(name: str, k: int, classes: int) -> int | None:
    """The prototype that `prototype_name` named, None when there is none for this k."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", name)
    if found is None or int(found[1]) >= classes or int(found[2]) >= k:
        return None
    return int(found[1]) * k + int(found[2])


def selection() -> Selection:
    """What `choose` selected in this run."""
    selected: Selection = st.session_state[_KEY]
    return selected
