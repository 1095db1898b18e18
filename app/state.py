"""What is selected in the sidebar: kept across pages and in the link."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

import streamlit as st
from streamlit.errors import StreamlitAPIException

from app import read
from app.addresses import link
from app.links import PLACE, bound, bound_switch, corrected, link_to_new, notes, number_in, one_of
from app.old_addresses import SELECTION
from app.selection import DEFAULT_K, KS, Selection
from app.wording import MAY_BE_GONE, message
from kmex_core.base.plain_text import markdown
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue
from kmex_core.models.info import ModelInfo
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.prototypes.metric import AUTO
from kmex_core.prototypes.metric import OPTIONS as METRICS
from kmex_core.prototypes.operations import summary
from kmex_core.prototypes.source import SUGGESTED, BuiltIn, KMeans, Version
from kmex_core.stages.versions import NO_VERSION, versions_of

MOST_OFFERED = 6
NO_MODEL = "none"
# in the session: what is selected, the data set and the weights of the last run, what links asked for in vain, what the
# page says of that and where
_KEY, _LAST, _WEIGHTS = "_selection", "_title", "_weights"
_KEPT = "_kept"  # in the session: what the address said of the selection when it was last shown


@dataclass(frozen=True)
class Missing:
    """What the sidebar or the link names and the store does not have.

    Attributes:
        words: what is missing, as a sentence of Markdown.
        instead: models that can be chosen instead, the likeliest first.
    """

    words: str
    instead: list[ModelInfo]


def take_up_selection() -> None:
    """Select what was selected before a page without the sidebar's widgets, unless the address selects anything."""
    kept: dict[str, list[str]] = st.session_state.get(_KEPT, {})
    if kept and "model" not in st.session_state and not SELECTION.intersection(st.query_params):
        st.query_params.update(kept)
        st.rerun()  # widgets take what the address says from the beginning of a run


def keep_selection() -> None:
    """Keep for `take_up_selection` what the address says now."""
    st.session_state[_KEPT] = {key: st.query_params.get_all(key) for key in SELECTION.intersection(st.query_params)}


def choose() -> None:
    """Show the sidebar's widgets and remember what they select.

    The address always names it: no default of these widgets is a value that can be chosen, since Streamlit leaves
    defaults out of the address.
    """
    models, damaged = read.models_and_damaged()
    for words in damaged:
        st.warning(message(words))
    st.session_state[PLACE] = None
    with st.sidebar:
        if not models:
            st.session_state[_KEY] = Missing("The store has no models yet.", [])
            return
        names = _datasets(models)
        titles = {_title(name, names): name for name in names}
        bind = _settle(models, titles)
        asked_title, asked_name = st.session_state["dataset"], st.session_state["model"]
        title = st.selectbox(
            "Data set",
            [*titles, *([] if asked_title in titles else [asked_title])],
            None,
            key="dataset",
            bind=bind,
            help="The data set that the models below were trained on.",
        )
        of_dataset = [model.name for model in models if model.dataset == titles.get(title or "")]
        name = st.selectbox(
            "Model",
            [*of_dataset, *([] if asked_name in of_dataset else [asked_name])],
            None,
            key="model",
            bind=bind,
            help="A trained classifier in the store. Add more on the page New or with `python -m kmex_core train`.",
        )
        if title is None or name is None:  # went back to an address that names none
            _forget("dataset", "model", "k", _LAST, _KEPT)
            corrected().update(dataset=(None, str), k=(float(DEFAULT_K), str))
            st.rerun()
        if bind is None:  # only now, since the widgets may have been bound until now
            _write({"dataset": title, "model": name})
        st.session_state[_LAST] = title
        model = next((model for model in models if model.name == name and name in of_dataset), None)
        converted = model is None or model.kind == "blackbox" or _choose_kmex(model)
        auto = _choose_suggested(disabled=not converted)
        k = _choose_k(disabled=not converted or auto)
        metric = _choose_metric() if converted else AUTO
        version = _choose_version(model) if model is not None and converted else None
        if k != int(k):  # went back to an address that names none
            _forget("k")
            corrected()["k"] = float(DEFAULT_K), str
            st.rerun()
    if model is None:
        st.session_state[_KEY] = _missing(title, name, models, titles)
        return
    st.session_state[_WEIGHTS] = {model.name: catalogue.weights_key(read.store(), model.name)}
    kmeans = KMeans(SUGGESTED if auto else int(k), metric=metric)
    st.session_state[_KEY] = Selection(model, version or (kmeans if converted else BuiltIn()))


def _forget(*keys: str) -> None:
    for key in keys:
        st.session_state.pop(key, None)


def _settle(models: list[ModelInfo], titles: dict[str, str]) -> Literal["query-params"] | None:
    """Make sure that a data set and a model are selected: those of the address, of the last run, or the first.

    A model that a link names decides on the data set. One that is not there stays selected, so that the page and the
    address go on naming it.

    Returns:
        The `bind` of both widgets, see `bound`.
    """
    by_name = {model.name: model for model in models}
    title_of = {name: title for title, name in titles.items()}
    first_run = "model" not in st.session_state
    requested = st.query_params.get_all("dataset"), st.query_params.get_all("model")
    title = st.session_state.get("dataset", st.query_params.get("dataset")) or ""
    title = title_of.get(title, title)
    name = st.session_state.get("model", st.query_params.get("model")) or ""
    changed = not first_run and title != st.session_state.get(_LAST, title)
    if name in by_name and not changed:
        own_title = title_of[by_name[name].dataset]
        if first_run and title not in ("", own_title):
            words = f"The link names '{markdown(title[:80])}', but {markdown(name)} is a model of {own_title}."
            notes()["dataset"] = words, own_title
        title = own_title
    elif changed or not name:
        title = title or next(iter(titles))
        name = next((model.name for model in models if model.dataset == titles.get(title)), "") or name or NO_MODEL
    elif not title:
        title = st.session_state.get(_LAST) or next(iter(titles))
    before = st.session_state.get("dataset"), st.session_state.get("model")
    if before != (title, name):
        st.session_state["dataset"], st.session_state["model"] = title, name
    if first_run and any(texts and texts != [value] for texts, value in zip(requested, (title, name), strict=True)):
        corrected()["dataset"] = None, str
    if first_run or "dataset" in corrected():
        values = {"dataset": title, "model": name}
        if "k" not in st.session_state and "k" not in st.query_params:  # one step back in the browser, not two
            st.session_state["k"] = float(DEFAULT_K)
            values["k"] = str(DEFAULT_K)
        _write(values)
    return None if "dataset" in corrected() else "query-params"


def _write(values: dict[str, str]) -> None:
    """Put into the address what it does not say yet, before widgets are bound to it."""
    new = {key: value for key, value in values.items() if st.query_params.get_all(key) != [value]}
    if new:
        with contextlib.suppress(StreamlitAPIException):  # bound already: the widget writes it
            st.query_params.update(new)


def _choose_k(disabled: bool) -> float:
    low, high = KS[0], KS[-1]
    bind = bound("k", number_in(low, high), f"Choose {low} to {high} prototypes per class.", float(DEFAULT_K))
    if "k" not in st.session_state and (bind is None or "k" not in st.query_params):
        st.session_state["k"] = float(DEFAULT_K)
        _write({"k": str(DEFAULT_K)})
    k = st.slider(
        "Prototypes per class",
        float(low),
        float(high),
        low + 0.5,  # between two steps, so that no choice is the default
        1.0,
        format="%d",
        key="k",
        bind=bind,
        disabled=disabled,
        help="Number of prototypes that KMEx finds for each class. Every page follows. The timeline on Explore "
        "compares all numbers.",
    )
    if bind is None:  # only now, since the widget may have been bound until now
        _write({"k": f"{k:.0f}"})
    return k


def _choose_suggested(disabled: bool) -> bool:
    return bool(
        st.toggle(
            "Suggested number per class",
            key="auto",
            bind=bound_switch("auto", False),
            disabled=disabled,
            help="Give each class the number of prototypes that its training images suggest, instead of one number for "
            "all. The timeline on the page Explore shows the numbers and why.",
        )
    )


def _choose_metric() -> str:
    name = st.selectbox(
        "Metric",
        METRICS,
        key="metric",
        bind=bound("metric", one_of(METRICS), f"Choose one of {', '.join(METRICS)}.", AUTO),
        help="How distances in the embedding are measured. *whitened*: relative to how much each direction varies "
        "within the classes. *euclidean*: as published. *cosine*: by direction alone. *auto*: whitened, unless "
        "Euclidean is more accurate on held-out images. The page Explore shows what auto stands for.",
    )
    return str(name)


def _choose_version(model: ModelInfo) -> Version | None:
    """Show the choice between a model's versions and the prototypes that nobody edited, where there are versions."""
    versions = {saved.version.name: saved.version for saved in versions_of(read.store(), model.name)[0]}
    if not versions and "version" not in st.query_params:
        return None
    options = [NO_VERSION, *versions]
    if st.session_state.get("version", NO_VERSION) not in options:  # of another model, or deleted since
        _forget("version")
    name = st.selectbox(
        "Version",
        options,
        key="version",
        bind=bound("version", one_of(options), "Choose one of the saved versions.", NO_VERSION),
        help="Prototypes that somebody edited on the page Explore and saved. They replace those of k-means on every "
        "page; the number of prototypes per class then has no effect.",
    )
    version = versions.get(str(name))
    if version is not None:
        st.caption(message(f"Edited: {summary(version.operations)}."))
    return version


def _missing(title: str, name: str, models: list[ModelInfo], titles: dict[str, str]) -> Missing:
    """What to say of a model or a data set that is selected and is not there."""
    weights = st.session_state.get(_WEIGHTS, {}).get(name)
    renamed = [model for model in models if weights and catalogue.weights_key(read.store(), model.name) == weights]
    if renamed:
        now = ", ".join(f"**{markdown(model.name)}**" for model in renamed)
        return Missing(f"The model '{markdown(name)}' was renamed to {now}.", renamed)
    alike = sorted(models, key=lambda model: model.dataset != titles.get(title))
    if name == NO_MODEL or (title not in titles and name not in {model.name for model in models}):
        words = f"No model in the store was trained on '{markdown(title)}'"
        words += "." if name == NO_MODEL else f", and there is no model named '{markdown(name)}'."
    else:
        words = f"The store has no model named '{markdown(name)}'. {MAY_BE_GONE}"
    return Missing(words, alike)


# ---- what a link asks for and cannot be ----------------------------------------------------------------------------


def select_model(model: ModelInfo) -> None:
    """Select a model in the sidebar: for a widget's callback, which runs before the sidebar does."""
    names = _datasets(read.models())
    st.session_state["dataset"] = st.session_state[_LAST] = _title(model.dataset, names)
    st.session_state["model"] = model.name


def _datasets(models: list[ModelInfo]) -> list[str]:
    """The data sets of models that are in display order: the first demo's, then by name."""
    first = models[0].dataset if models[0].embedded else ""
    return sorted({model.dataset for model in models}, key=lambda name: (name != first, name))


def _choose_kmex(model: ModelInfo) -> bool:
    """Show the choice between a prototypical model and the KMEx of its embedding."""
    kind = MODEL_KINDS[model.kind].title
    converted = st.toggle(
        "+ KMEx",
        True,
        key="kmex",
        bind=bound_switch("kmex", True),
        help=f"On: prototypes that KMEx finds in the embedding of this {kind}, which then takes the place of the black "
        f"box. Off: the built-in prototypes of the {kind}.",
    )
    name = markdown(model.name)
    st.caption(
        f"KMEx on the embedding of **{name}**, a {kind}. On the pages, *black box* means this {kind}."
        if converted
        else f"**{name}**, a {kind}, with its {model.k} built-in prototypes per class."
    )
    return converted


def _title(name: str, names: list[str]) -> str:
    """A data set's title; its whole path where another one has the same title, or has it as its name."""
    title = datasets.title(name)
    others = {text for other in names if other != name for text in (other, datasets.title(other))}
    return name if title in others else title


def query(chosen: Selection | None = None, /, **more: str | int) -> dict[str, str]:
    """What a link to a page needs to show a selection of the same data set (that of the sidebar when None), and
    `more`."""
    chosen = chosen or selection()
    selected = {"dataset": st.session_state[_LAST], "model": chosen.model.name}
    return {name: str(value) for name, value in {**selected, **chosen.source.query, **more}.items()}


def address(page: str, **more: str | int) -> str:
    """The address of a page that shows the same selection, relative to any page."""
    return f"{link(page)}?{urlencode(query(**more))}"


def selected() -> Selection | None:
    """What `choose` selected in this run; None where that is not there."""
    chosen: Selection | Missing = st.session_state[_KEY]
    return chosen if isinstance(chosen, Selection) else None


def selection() -> Selection:
    """What `choose` selected in this run. Where that is not there, the page says so, offers others, and ends."""
    selected: Selection | Missing = st.session_state[_KEY]
    if isinstance(selected, Selection):
        return selected
    st.title("Model not found")
    st.warning(selected.words, icon=":material/link_off:")
    if selected.instead:
        st.markdown("Choose another model in the sidebar, or one of these:")
    with st.container(horizontal=True):
        for model in selected.instead[:MOST_OFFERED]:
            st.button(markdown(model.name), key=f"instead-{model.name}", on_click=select_model, args=(model,))
    link_to_new()
    st.stop()
