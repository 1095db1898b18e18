"""What is selected in the sidebar: kept across pages and in the link."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import numpy as np
import streamlit as st
from streamlit.errors import StreamlitAPIException

from app import read
from app.addresses import link
from app.selection import DEFAULT_K, Selection
from app.wording import message
from kmex_core.base.plain_text import markdown
from kmex_core.base.results import KINDS, ModelInfo
from kmex_core.data import registry as datasets
from kmex_core.models import catalogue as kept
from kmex_core.prototypes.source import BuiltIn, KMeans

KS = (1, 20)
MOST_OFFERED = 6
NO_MODEL = "none"
# in the session: what is selected, the data set and the weights of the last run, what links asked for in vain, what the
# page says of that and where
_KEY, _LAST, _WEIGHTS = "_selection", "_title", "_weights"
_CORRECTED, _NOTES, _PLACE = "_corrected", "_notes", "_place"
# in the session: the page of the last run, and what was chosen on each page, as its address names it
_PAGE, _LEFT = "_page", "_left"
PASSING = {"prototype", "own", "others", "view"}  # what a page that is opened again does not come back to


@dataclass(frozen=True)
class Missing:
    """What the sidebar or the link names and the store does not have.

    Attributes:
        words: what is missing, as a sentence of Markdown.
        instead: models that can be chosen instead, the likeliest first.
    """

    words: str
    instead: list[ModelInfo]


def choose() -> None:
    """Show the sidebar's widgets and remember what they select.

    The address always names it: no default of these widgets is a value that can be chosen, since Streamlit leaves
    defaults out of the address.
    """
    models, damaged = read.models_and_damaged()
    for words in damaged:
        st.warning(message(words))
    st.session_state[_PLACE] = None
    with st.sidebar:
        if not models:
            st.warning("There is no model yet. Train one: `python -m kmex_core train --help`.")
            st.stop()
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
            help="The images that the models below were trained on.",
        )
        of_dataset = [model.name for model in models if model.dataset == titles.get(title or "")]
        name = st.selectbox(
            "Model",
            [*of_dataset, *([] if asked_name in of_dataset else [asked_name])],
            None,
            key="model",
            bind=bind,
            help="A trained classifier in the store. `python -m kmex_core train` makes more.",
        )
        if title is None or name is None:  # went back to an address that names none
            _forget("dataset", "model", "k", _LAST)
            _corrected().update(dataset=(None, str), k=(float(DEFAULT_K), str))
            st.rerun()
        if bind is None:  # only now, since the widgets may have been bound until now
            _write({"dataset": title, "model": name})
        st.session_state[_LAST] = title
        model = next((model for model in models if model.name == name and name in of_dataset), None)
        converted = model is None or model.kind == "blackbox" or _choose_kmex(model)
        k = _choose_k(disabled=not converted)
        if k != int(k):  # went back to an address that names none
            _forget("k")
            _corrected()["k"] = float(DEFAULT_K), str
            st.rerun()
    if model is None:
        st.session_state[_KEY] = _missing(title, name, models, titles)
        return
    st.session_state[_WEIGHTS] = {model.name: kept.weights_key(read.store(), model.name)}
    st.session_state[_KEY] = Selection(model, KMeans(int(k)) if converted else BuiltIn())


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
    asked = st.query_params.get_all("dataset"), st.query_params.get_all("model")
    title = st.session_state.get("dataset", st.query_params.get("dataset")) or ""
    title = title_of.get(title, title)
    name = st.session_state.get("model", st.query_params.get("model")) or ""
    changed = not first_run and title != st.session_state.get(_LAST, title)
    if name in by_name and not changed:
        own = title_of[by_name[name].dataset]
        if first_run and title not in ("", own):
            words = f"The link names the data set '{markdown(title[:80])}', but {markdown(name)} is a model of {own}."
            _notes()["dataset"] = words, own
        title = own
    elif changed or not name:
        title = title or next(iter(titles))
        name = next((model.name for model in models if model.dataset == titles.get(title)), "") or name or NO_MODEL
    elif not title:
        title = st.session_state.get(_LAST) or next(iter(titles))
    before = st.session_state.get("dataset"), st.session_state.get("model")
    if before != (title, name):
        st.session_state["dataset"], st.session_state["model"] = title, name
    if first_run and any(texts and texts != [value] for texts, value in zip(asked, (title, name), strict=True)):
        _corrected()["dataset"] = None, str
    if first_run or "dataset" in _corrected():
        values = {"dataset": title, "model": name}
        if "k" not in st.session_state and "k" not in st.query_params:  # one step back in the browser, not two
            st.session_state["k"] = float(DEFAULT_K)
            values["k"] = str(DEFAULT_K)
        _write(values)
    return None if "dataset" in _corrected() else "query-params"


def _write(values: dict[str, str]) -> None:
    """Put into the address what it does not say yet, before widgets are bound to it."""
    new = {key: value for key, value in values.items() if st.query_params.get_all(key) != [value]}
    if new:
        with contextlib.suppress(StreamlitAPIException):  # bound already: the widget writes it
            st.query_params.update(new)


def _choose_k(disabled: bool) -> float:
    low, high = KS
    bind = bound("k", number_in(low, high), f"{low} to {high} prototypes per class can be shown.", float(DEFAULT_K))
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
        help="How many prototypes KMEx finds for each class. The page Prototypes per class shows what each number "
        "does to accuracy, agreement, ghosts and diversity.",
    )
    if bind is None:  # only now, since the widget may have been bound until now
        _write({"k": f"{k:.0f}"})
    return k


def _missing(title: str, name: str, models: list[ModelInfo], titles: dict[str, str]) -> Missing:
    """What to say of a model or a data set that is selected and is not there."""
    weights = st.session_state.get(_WEIGHTS, {}).get(name)
    renamed = [model for model in models if weights and kept.weights_key(read.store(), model.name) == weights]
    if renamed:
        now = ", ".join(f"**{markdown(model.name)}**" for model in renamed)
        return Missing(f"The model '{markdown(name)}' was renamed: it is {now} now.", renamed)
    alike = sorted(models, key=lambda model: model.dataset != titles.get(title))
    if name == NO_MODEL or (title not in titles and name not in {model.name for model in models}):
        words = f"No model here was trained on '{markdown(title)}'"
        words += "." if name == NO_MODEL else f", and there is no model named '{markdown(name)}'."
    else:
        words = f"There is no model named '{markdown(name)}' here. It may have been deleted or renamed."
    return Missing(words, alike)


# ---- what a link asks for and cannot be ----------------------------------------------------------------------------


def bound(
    key: str,
    usable: Callable[[str], bool],
    instead: str,
    default: object,
    label: Callable[[Any], str] = str,
) -> Literal["query-params"] | None:
    """For the `bind` of a widget: it follows the address, unless that asks for what cannot be.

    Then the widget shows its default, the page says so until something else is chosen, and the address is written here
    from now on: Streamlit would go on preferring what it said at first. What was chosen here for another data set is no
    link's: it goes without a word.

    Args:
        key: the widget's, which is its name in the address.
        usable: whether a text in the address names something that can be chosen.
        instead: a sentence on what can be chosen.
        default: what the widget shows when nothing was chosen.
        label: the text of an option, its `format_func`, which the address has.
    """
    asked = st.query_params.get_all(key)
    wrong = asked if len(asked) > 1 else [text for text in asked if not usable(text)]
    place = st.session_state.get(_PLACE)
    if place is not None:  # on a page, not in the sidebar
        _left_on(st.session_state[_PAGE]).setdefault(key, [])
    if wrong:
        if place is None or not _of_another_data_set(key, asked):
            words = _refusal(key, wrong[-1], instead)
            _notes()[key] = words, default
            if place is not None:
                place.warning(words, icon=":material/link_off:")
        with contextlib.suppress(StreamlitAPIException):  # bound before: the widget that is not bound now clears it
            st.query_params.pop(key)
    if not wrong and key not in _corrected():
        return "query-params"
    _corrected()[key] = default, label  # of the options as they are now
    return None


def bound_to(key: str, labels: Mapping[str, str], default: str) -> Literal["query-params"] | None:
    """`bound` for a choice of one option, by the options' labels."""
    instead = f"It is one of {', '.join(map(markdown, labels.values()))}."
    return bound(key, one_of(labels.values()), instead, default, labels.__getitem__)


def come_back(page: str) -> None:
    """Show on a page what was chosen there when it was left: Streamlit forgets that.

    An address that names anything that can be chosen there decides; so does another data set.

    Args:
        page: what names it in the address.
    """
    before = st.session_state.get(_PAGE)
    st.session_state[_PAGE] = page
    chosen = {key: texts for key, texts in _left_on(page).items() if texts and key not in PASSING}
    if before not in (None, page) and chosen and not any(key in st.query_params for key in _left_on(page)):
        st.query_params.update(chosen)
        st.rerun()  # widgets take what the address says from the beginning of a run


def remember() -> None:
    """Keep for `come_back` what is chosen on this page: at the end of its run, when the address names it."""
    left = _left_on(st.session_state[_PAGE])
    left.update({key: st.query_params.get_all(key) for key in left})


def _left_on(page: str) -> dict[str, list[str]]:
    return _left().setdefault((page, str(st.session_state.get("dataset"))), {})


def _left() -> dict[tuple[str, str], dict[str, list[str]]]:
    """What was chosen, by page and data set."""
    left: dict[tuple[str, str], dict[str, list[str]]] = st.session_state.setdefault(_LEFT, {})
    return left


def _of_another_data_set(key: str, asked: list[str]) -> bool:
    """Whether what the address asks for was chosen on this page in this session, for another data set than now."""
    now = st.session_state[_PAGE], str(st.session_state.get("dataset"))
    return any(left.get(key) == asked for place, left in _left().items() if place[0] == now[0] and place != now)


def number_in(low: int, high: int) -> Callable[[str], bool]:
    """Whether a text is a whole number from `low` to `high`, for `bound`."""
    return lambda text: re.fullmatch(r"\d{1,9}", text, re.ASCII) is not None and low <= int(text) <= high


def one_of(options: Iterable[object]) -> Callable[[str], bool]:
    """Whether a text is one of some options as the widget shows them, for `bound`."""
    texts = {str(option) for option in options}
    return lambda text: text in texts


def on_or_off(text: str) -> bool:
    """Whether a text is what a switch has in the address, for `bound`."""
    return text.lower() in ("true", "false")


def _notes() -> dict[str, tuple[str, object]]:
    notes: dict[str, tuple[str, object]] = st.session_state.setdefault(_NOTES, {})
    return notes


def refuse(key: str, asked: str, instead: str) -> None:
    """Say that the address asks for what is not here: for what no widget is bound to. The address goes on naming it.

    What was picked here for another data set is no link's: the address forgets it, and nothing is said.
    """
    if _of_another_data_set(key, [asked]):
        pick(key, "")
        return
    st.session_state[_PLACE].warning(_refusal(key, asked, instead), icon=":material/link_off:")


def _refusal(key: str, asked: str, instead: str) -> str:
    return f"The link asks for {key} '{markdown(asked[:80])}', which is not here. {instead}"


def _corrected() -> dict[str, tuple[object, Callable[[Any], str]]]:
    """What the address asked for in vain in this session: the widget's default, and the `label` of its options."""
    corrected: dict[str, tuple[object, Callable[[Any], str]]] = st.session_state.setdefault(_CORRECTED, {})
    return corrected


def show_corrections() -> None:
    """Say what the link asked for in vain, until something else is chosen there; pages add to it by `bound`."""
    for key, (default, label) in _corrected().items():
        value = st.session_state.get(key, default)
        if key in ("dataset", "k"):  # the sidebar's, which writes them itself
            continue
        if value == default:
            pick(key, "")
        else:
            st.query_params[key] = [label(one) for one in value] if isinstance(value, list) else label(value)
    st.session_state[_PLACE] = place = st.container()
    for key, (words, shown) in list(_notes().items()):
        if st.session_state.get(key) == shown:
            place.warning(words, icon=":material/link_off:")
        else:
            del _notes()[key]


def select_model(model: ModelInfo) -> None:
    """Select a model in the sidebar: for a widget's callback, which runs before the sidebar does."""
    names = _datasets(read.models())
    st.session_state["dataset"] = st.session_state[_LAST] = _title(model.dataset, names)
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
        bind=bound("kmex", on_or_off, "It is true or false.", True),
        help=f"On: the prototypes that KMEx finds in the embedding of this {kind}, which takes the black box's place. "
        f"Off: the prototypes that the {kind} has learned itself.",
    )
    name = markdown(model.name)
    st.caption(
        f"KMEx on the embedding of **{name}**, a {kind}; what the pages call the black box is the {kind}."
        if converted
        else f"**{name}**, a {kind}, with its own {model.k} prototypes per class."
    )
    return converted


def _title(name: str, names: list[str]) -> str:
    """A data set's title; its whole path where two have the same."""
    title = datasets.title(name)
    return name if [datasets.title(other) for other in names].count(title) > 1 else title


def query(**more: str | int) -> dict[str, str]:
    """What a link to a page needs to show the same selection, and `more`."""
    chosen = selection()
    kept_choices = {"dataset": st.session_state[_LAST], "model": chosen.model.name}
    return {name: str(value) for name, value in {**kept_choices, **chosen.source.query, **more}.items()}


def address(page: str, **more: str | int) -> str:
    """The address of a page that shows the same selection, relative to any page."""
    return f"{link(page)}?{urlencode(query(**more))}"


def picked(kind: str) -> str:
    """What the link says was picked on this page, "" for nothing."""
    _left_on(st.session_state[_PAGE]).setdefault(kind, [])
    return str(st.query_params.get(kind, ""))


def pick(kind: str, name: str) -> None:
    """Remember in the link what was picked on this page; "" forgets it."""
    if name == "":
        st.query_params.pop(kind, None)
    elif st.query_params.get_all(kind) != [name]:
        st.query_params[kind] = name


def pick_prototype(name: str) -> None:
    """Remember in the link which prototype was picked, from the first of its images on; "" forgets it."""
    for pages in ("own", "others"):
        pick(pages, "")
    pick("prototype", name)


def prototype_place(p: int, classes: np.ndarray) -> int:
    """The place of a prototype among those of its class, from 0; `classes` (K,) are all prototypes' classes."""
    return int((classes[:p] == classes[p]).sum())


def prototype_name(p: int, classes: np.ndarray) -> str:
    """What names a prototype in links: its class and its place in it, so that it means the same for another k."""
    return f"{classes[p]}.{prototype_place(p, classes)}"


def prototype_index(name: str, classes: np.ndarray) -> int | None:
    """The prototype that `prototype_name` named, None when there is none among these."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", name, re.ASCII)
    if found is None:
        return None
    own = np.flatnonzero(classes == int(found[1]))
    return int(own[int(found[2])]) if int(found[2]) < len(own) else None


def missing_prototype(name: str, classes: np.ndarray, class_names: Sequence[str]) -> str:
    """Why there is no prototype of such a name among those of these classes (K,), as a sentence of Markdown."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", name, re.ASCII)
    if found is None or int(found[1]) >= len(class_names):
        return f"A prototype is named by its class, 0 to {len(class_names) - 1:,}, and its place in it, as in 0.0."
    count = int((classes == int(found[1])).sum())
    label = markdown(class_names[int(found[1])])
    return f"There is no number {int(found[2]) + 1} of class {label} now: it has {count} prototypes."


def selection() -> Selection:
    """What `choose` selected in this run. Where that is not there, the page says so, offers others, and ends."""
    selected: Selection | Missing = st.session_state[_KEY]
    if isinstance(selected, Selection):
        return selected
    st.title("Not here")
    st.warning(selected.words, icon=":material/link_off:")
    st.markdown("Choose another in the sidebar, or one of these:")
    with st.container(horizontal=True):
        for model in selected.instead[:MOST_OFFERED]:
            st.button(markdown(model.name), key=f"instead-{model.name}", on_click=select_model, args=(model,))
    st.stop()
