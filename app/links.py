"""What a page's address says: what was picked there, and what it asked for in vain."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NoReturn

import streamlit as st
from streamlit.errors import StreamlitAPIException

from kmex_core.base.plain_text import markdown

_CORRECTED, _NOTES, PLACE = "_corrected", "_notes", "_place"

# in the session: the page of the last run, and what was chosen on each page, as its address names it
_PAGE, _LEFT = "_page", "_left"
_LEAVING = "_leaving"  # in the session: whether the address names another page's choices already

PASSING = {"prototype", "own", "others", "view"}  # what a page that is opened again does not come back to


def bound(
    key: str,
    usable: Callable[[str], bool],
    instead: str,
    default: object,
    label: Callable[[Any], str] = str,
    several: bool = False,
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
        several: whether several options can be chosen: the address names each.
    """
    requested = st.query_params.get_all(key)
    ambiguous = len(requested) > 1 and not several
    wrong = requested if ambiguous else [text for text in requested if not usable(text)]
    place = st.session_state.get(PLACE)
    if place is not None:  # on a page, not in the sidebar
        _left_on(st.session_state[_PAGE]).setdefault(key, [])
    if wrong:
        if place is None or not _of_another_data_set(key, requested):
            words = _refusal(key, wrong[-1], instead)
            notes()[key] = words, default
            if place is not None:
                place.warning(words, icon=":material/link_off:")
        with contextlib.suppress(StreamlitAPIException):  # bound before: the widget that is not bound now clears it
            st.query_params.pop(key)
    if not wrong and key not in corrected():
        return "query-params"
    corrected()[key] = default, label  # of the options as they are now
    return None


def bound_switch(key: str, default: bool) -> Literal["query-params"] | None:
    """`bound` for a switch."""
    return bound(key, lambda text: text.lower() in ("true", "false"), "Use true or false.", default)


def bound_to(key: str, labels: Mapping[str, str], default: str) -> Literal["query-params"] | None:
    """`bound` for a choice of one option, by the options' labels."""
    instead = f"Choose one of {', '.join(map(markdown, labels.values()))}."
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
    if st.session_state.pop(_LEAVING, False):
        return
    left = _left_on(st.session_state[_PAGE])
    left.update({key: st.query_params.get_all(key) for key in left})


def leave_for(page: str, query: Mapping[str, str]) -> NoReturn:
    """Open another page: what is chosen on this one is kept before the address names what is chosen there.

    Args:
        page: what names it in the address.
        query: its parameters.
    """
    remember()
    st.session_state[_LEAVING] = True
    st.switch_page(f"views/{page}.py", query_params=query)


def _left_on(page: str) -> dict[str, list[str]]:
    return _left().setdefault((page, str(st.session_state.get("dataset"))), {})


def _left() -> dict[tuple[str, str], dict[str, list[str]]]:
    """What was chosen, by page and data set."""
    left: dict[tuple[str, str], dict[str, list[str]]] = st.session_state.setdefault(_LEFT, {})
    return left


def _of_another_data_set(key: str, requested: list[str]) -> bool:
    """Whether what the address asks for was chosen on this page in this session, for another data set than now."""
    now = st.session_state[_PAGE], str(st.session_state.get("dataset"))
    return any(left.get(key) == requested for place, left in _left().items() if place[0] == now[0] and place != now)


def number_in(low: int, high: int) -> Callable[[str], bool]:
    """Whether a text is a whole number from `low` to `high`, for `bound`."""
    return lambda text: re.fullmatch(r"\d{1,9}", text, re.ASCII) is not None and low <= int(text) <= high


def one_of(options: Iterable[object]) -> Callable[[str], bool]:
    """Whether a text is one of some options as the widget shows them, for `bound`."""
    texts = {str(option) for option in options}
    return lambda text: text in texts


def notes() -> dict[str, tuple[str, object]]:
    notes: dict[str, tuple[str, object]] = st.session_state.setdefault(_NOTES, {})
    return notes


def refuse(key: str, requested: str, instead: str) -> None:
    """Say that the address asks for what is not here: for what no widget is bound to. The address goes on naming it.

    What was picked here for another data set is no link's: the address forgets it, and nothing is said.
    """
    if _of_another_data_set(key, [requested]):
        pick(key, "")
        return
    st.session_state[PLACE].warning(_refusal(key, requested, instead), icon=":material/link_off:")


def _refusal(key: str, requested: str, instead: str) -> str:
    return f"The link asks for {key} '{markdown(requested[:80])}', which is not available. {instead}"


def corrected() -> dict[str, tuple[object, Callable[[Any], str]]]:
    """What the address asked for in vain in this session: the widget's default, and the `label` of its options."""
    corrected: dict[str, tuple[object, Callable[[Any], str]]] = st.session_state.setdefault(_CORRECTED, {})
    return corrected


def show_corrections() -> None:
    """Say what the link asked for in vain, until something else is chosen there; pages add to it by `bound`."""
    for key, (default, label) in corrected().items():
        value = st.session_state.get(key, default)
        if key in ("dataset", "k"):  # the sidebar's, which writes them itself
            continue
        if value == default:
            pick(key, "")
        else:
            st.query_params[key] = [label(option) for option in value] if isinstance(value, list) else label(value)
    st.session_state[PLACE] = place = st.container()
    for key, (words, shown) in list(notes().items()):
        if st.session_state.get(key) == shown:
            place.warning(words, icon=":material/link_off:")
        else:
            del notes()[key]


def link_to_new() -> None:
    """Show the way to the page New, where there is nothing to show."""
    st.page_link("views/new.py", label="Bring your model and your images", icon=":material/add_circle:")


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


def picked_all(kind: str) -> list[str]:
    """`picked` for what may be named several times."""
    _left_on(st.session_state[_PAGE]).setdefault(kind, [])
    return st.query_params.get_all(kind)


def pick_all(kind: str, names: Sequence[str]) -> None:
    """`pick` for what may be named several times."""
    if not names:
        st.query_params.pop(kind, None)
    elif st.query_params.get_all(kind) != list(names):
        st.query_params[kind] = list(names)


def pick_prototype(name: str) -> None:
    """Remember in the link which prototype was picked, from the first of its images on; "" forgets it."""
    for pages in ("own", "others"):
        pick(pages, "")
    pick("prototype", name)
