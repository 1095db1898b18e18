"""What is selected in the sidebar: kept across pages and in the link."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from app import cache
from app.addresses import link
from kmex_core import datasets
from kmex_core.results import KINDS, OWN, ModelInfo

KS = (1, 20)
DEFAULT_K = 5
_KEY = "_selection"


@dataclass(frozen=True)
class Selection:
    """A model of the store with prototypes.

    Attributes:
        model: the model.
        k: how many prototypes per class KMEx finds; `OWN` for those that the model has itself.
        seed: of k-means.
    """

    model: ModelInfo
    k: int
    seed: int = 0

    @property
    def own(self) -> bool:
        """A prototypical model is looked at without KMEx."""
        return self.k == OWN

    @property
    def title(self) -> str:
        """What decides by the prototypes: "KMEx", or the kind of model."""
        return KINDS[self.model.kind] if self.own else "KMEx"

    @property
    def per_class(self) -> int:
        """Prototypes per class (of FLINT on average)."""
        return self.model.k if self.own else self.k


def choose() -> None:
    """Show the sidebar's widgets and remember what they select."""
    models = cache.models()
    with st.sidebar:
        if not models:
            st.warning("There is no model yet. Train one: `python -m kmex_core train --help`.")
            st.stop()
        names = _datasets(models)
        asked = next((model for model in models if model.name == st.query_params.get("model")), None)
        if asked and "dataset" not in st.session_state and "dataset" not in st.query_params:
            select_model(asked)  # a link that names no data set means the model's
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
        converted = model.kind == "blackbox" or _choose_kmex(model)
        k = st.slider(
            "Prototypes per class",
            *KS,
            DEFAULT_K,
            key="k",
            bind="query-params",
            disabled=not converted,
            help="How many prototypes KMEx finds for each class. The page Prototypes per class shows what each number "
            "does to accuracy, agreement, ghosts and diversity.",
        )
    st.session_state[_KEY] = Selection(model, k if converted else OWN)


def select_model(model: ModelInfo) -> None:
    """Select a model in the sidebar: for a widget's callback, which runs before the sidebar does."""
    names = _datasets(cache.models())
    st.session_state["dataset"] = _title(model.dataset, names)
    st.session_state["model"] = model.name


def _datasets(models: list[ModelInfo]) -> list[str]:
    return sorted({model.dataset for model in models}, key=lambda name: (name != "digits", name))


def _choose_kmex(model: ModelInfo) -> bool:
    """Show the choice between a prototypical model and the KMEx of its embedding."""
    kind = KINDS[model.kind]
    converted = st.toggle(
        "+ KMEx",
        True,
        key="kmex",
        bind="query-params",
        help=f"On: the prototypes that KMEx finds in the embedding of this {kind}, which takes the black box's place. "
        f"Off: the prototypes that the {kind} has learned itself.",
    )
    st.caption(
        f"KMEx on the embedding of **{model.name}**, a {kind}; what the pages call the black box is the {kind}."
        if converted
        else f"**{model.name}**, a {kind}, with its own {model.k} prototypes per class."
    )
    return converted


def _title(name: str, names: list[str]) -> str:
    """A data set's title; its whole path where two have the same."""
    title = datasets.title(name)
    return name if [datasets.title(other) for other in names].count(title) > 1 else title


def query(**more: str | int) -> dict[str, str]:
    """What a link to a page needs to show the same selection, and `more`."""
    chosen = selection()
    kept = {"model": chosen.model.name, **({"kmex": "false"} if chosen.own else {"k": chosen.k}), **more}
    if "dataset" in st.query_params:
        kept["dataset"] = st.query_params["dataset"]
    return {name: str(value) for name, value in kept.items()}


def address(page: str, **more: str | int) -> str:
    """The address of a page that shows the same selection, relative to any page."""
    return f"{link(page)}?{urlencode(query(**more))}"


def picked(kind: str) -> str:
    """What the link says was picked on this page, "" for nothing."""
    return str(st.query_params.get(kind, ""))


def pick(kind: str, name: str) -> None:
    """Remember in the link what was picked on this page; "" forgets it."""
    if name:
        st.query_params[kind] = name
    else:
        st.query_params.pop(kind, None)


def prototype_place(p: int, classes: np.ndarray) -> int:
    """The place of a prototype among those of its class, from 0; `classes` (K,) are all prototypes' classes."""
    return int((classes[:p] == classes[p]).sum())


def prototype_name(p: int, classes: np.ndarray) -> str:
    """What names a prototype in links: its class and its place in it, so that it means the same for another k."""
    return f"{classes[p]}.{prototype_place(p, classes)}"


def prototype_index(name: str, classes: np.ndarray) -> int | None:
    """The prototype that `prototype_name` named, None when there is none among these."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", name)
    if found is None:
        return None
    own = np.flatnonzero(classes == int(found[1]))
    return int(own[int(found[2])]) if int(found[2]) < len(own) else None


def selection() -> Selection:
    """What `choose` selected in this run."""
    selected: Selection = st.session_state[_KEY]
    return selected
