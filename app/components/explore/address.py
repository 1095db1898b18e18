"""What the address says of Explore, and what the component tells of it."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from app import read
from app.components.shared.told import told_address
from app.links import pick, pick_all, picked, picked_all, refuse
from app.selection import KS, Selection
from kmex_core.stages.versions import NO_VERSION

MOST = 2000  # characters of a parameter
# as map/geometry.js writes it
VIEW = re.compile(r"(-?\d{1,9}(\.\d{1,9})?_){2}(?=.*[1-9])\d{1,9}(\.\d{1,9})?", re.ASCII)
IMAGE = re.compile(r"(train|test)-(\d{1,9})", re.ASCII)
COLOURS = ("class", "correct", "prototype", "confidence", "distance")
ATTRIBUTE = "attribute:"
SHOWN = ("all", "wrong", "disagree")
_TEXTS = ("colour", "show", "point", "view", "picture", "framing")
_DEFAULTS = {"colour": "class", "show": "all"}


def address_now(chosen: Selection) -> dict[str, Any]:
    """What the address says, with defaults for what it does not say or what cannot be."""
    values: dict[str, Any] = {name: picked(name)[:MOST] or _DEFAULTS.get(name, "") for name in _TEXTS}
    if values["show"] not in SHOWN or (values["show"] == "disagree" and not chosen.has_black_box):
        _refused("show", values, "Use all, wrong, or disagree where there is a black box.")
    if values["view"] and not VIEW.fullmatch(values["view"]):
        _refused("view", values, "A view is the centre and the side of the visible area: 0.1_-0.2_0.5, for example.")
    if not _is_colour(chosen, values["colour"]):
        options = f"{', '.join(COLOURS)}, or {ATTRIBUTE} and the name of an attribute"
        _refused("colour", values, f"Colour by {options}.")
    if instead := _missing_point(chosen, values["point"]):
        _refused("point", values, instead)
    names = picked_all("classes")
    unknown = [name for name in names if name not in chosen.model.class_names]
    if unknown:
        refuse("classes", unknown[0], "Use the names of the model's classes.")
    return {
        **values,
        "classes": [name for name in names if name in chosen.model.class_names],
        "test": picked("test").lower() == "true",
        "select": [text[:MOST] for text in picked_all("select")],
    }


def _is_colour(chosen: Selection, colour: str) -> bool:
    attributes = read.dataset(chosen.model).split("train").attribute_names
    return colour in COLOURS or (colour.startswith(ATTRIBUTE) and colour.removeprefix(ATTRIBUTE) in attributes)


def _missing_point(chosen: Selection, point: str) -> str:
    """Why what the address picks is not there, "" when it is. A prototype that this number lacks is told by its card:
    another number may have it."""
    if point == "" or point.startswith("prototype-"):
        return ""
    numbered = IMAGE.fullmatch(point)
    if numbered is None:
        return "Click a dot or a square to pick it."
    count = len(read.dataset(chosen.model).split(numbered[1]))
    if int(numbered[2]) < count:
        return ""
    return f"The {numbered[1]} images are numbered 0 to {count - 1:,}."


def _refused(name: str, values: dict[str, Any], instead: str) -> None:
    refuse(name, values[name], instead)
    values[name] = _DEFAULTS.get(name, "")


def remember_address(chosen: Selection, key: str) -> None:
    """Put into the address what the component tells: for its callback."""
    told = told_address(key)
    if not told:
        return
    for name in _TEXTS:
        text = str(told.get(name, ""))[:MOST]
        pick(name, "" if text == _DEFAULTS.get(name, "") else text)
    pick("test", "true" if told.get("test") is True else "")
    for name in ("classes", "select"):
        pick_all(name, [str(text)[:MOST] for text in told.get(name) or []])
    k = told.get("k")
    if isinstance(k, int | float) and k in KS:
        st.session_state["k"] = float(int(k))
        st.session_state["auto"] = False
        if "version" in st.session_state:
            st.session_state["version"] = NO_VERSION
