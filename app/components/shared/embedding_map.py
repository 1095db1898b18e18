"""The embedding map, in the browser's WebGL; as a Plotly figure where there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from app import read
from app.components.shared.web import component
from app.figures.projection import projection_figure
from app.links import pick, picked, refuse
from app.routes import embedding_map, pictures
from app.selection import Selection
from kmex_core.analysis.types import Projection
from kmex_core.data.colours import class_colours

_map = component("map")
SHOWN = {"all": "All", "wrong": "Wrong", "disagree": "Models differ"}
PLAIN_POINTS = 3000
VIEW = re.compile(r"(-?\d{1,9}(\.\d{1,9})?_){2}(?=.*[1-9])\d{1,9}(\.\d{1,9})?", re.ASCII)  # as map.js writes it


def show_map(
    key: str,
    chosen: Selection,
    projection: Projection,
    *,
    selected: str = "",
    which: str = "all",
    classes: Sequence[int] | None = None,
    test: bool = False,
    instead: str = "",
) -> str:
    """Show the embedding map with the prototypes of the selection; what was just clicked, else "".

    Images are named "train-<index>" and "test-<index>", prototypes "prototype-<number>".

    Args:
        key: names it on its page.
        chosen: model and number of prototypes.
        projection: the embedding map.
        selected: what to mark.
        which: a key of `SHOWN`.
        classes: show only these (all when None).
        test: lay the test images over.
        instead: where the same is for those who cannot see it.
    """
    info = chosen.model
    plain = st.session_state.get(f"{key}-plain", False)

    def without() -> None:
        st.session_state[f"{key}-plain"] = st.session_state[key].get("webgl") is False

    def moved() -> None:
        pick("view", str(st.session_state[key].get("view") or ""))

    view = picked("view")
    if view and not VIEW.fullmatch(view):
        refuse("view", view, "A view is the centre and the side of the visible area: 0.1_-0.2_0.5, for example.")
        view = ""
    read.conversion(chosen)  # the layer is served from the store
    map_key = read.subject(info).embedding_map().key
    shown = _map(
        key=key,
        data={
            "cloud": {
                "url": embedding_map.cloud_url(map_key),
                "train": len(projection.train),
                "test": len(projection.test),
            },
            "layer": {"url": embedding_map.layer_url(map_key, read.conversion_of(chosen).key)},
            "pictures": pictures.folder(info.name, read.dataset(info).fingerprint),
            "names": list(info.class_names),
            "colours": list(class_colours(len(info.class_names))),
            "show": which,
            "classes": None if classes is None else list(classes),
            "test": test,
            "selected": selected,
            "place": key,
            "view": view,
            "plain": plain,
            "instead": instead,
            "by": chosen.title,
            "beside": chosen.has_black_box,
        },
        on_picked_change=lambda: None,
        on_webgl_change=without,
        on_view_change=moved,
    )
    if plain:
        st.info("This browser has no WebGL, so the embedding map is a static plot of a sample of the images.")
        rows = shown_images(chosen, projection, which, classes, test)
        step = max(1, len(rows) // PLAIN_POINTS)
        st.plotly_chart(
            map_figure(chosen, projection, rows[::step], gl=False), key=f"{key}-figure", alt="Embedding map"
        )
    return str(shown.picked or "")


def shown_images(
    chosen: Selection, projection: Projection, which: str, classes: Sequence[int] | None, test: bool
) -> np.ndarray:
    """Rows of the images that the embedding map shows: training images first, then test images."""
    count = len(projection.train) + (len(projection.test) if test else 0)
    predicted, labels = predictions(chosen)[:count], projection.labels[:count]
    keep = np.ones(count, dtype=bool)
    if which == "wrong":
        keep = predicted != labels
    elif which == "disagree":
        keep = predicted != projection.black_box[:count]
    if classes is not None:
        keep &= np.isin(labels, list(classes))
    return np.flatnonzero(keep)


def predictions(chosen: Selection) -> np.ndarray:
    """(N + M,) the class that is predicted for each training image, then for each test image."""
    conversion = read.conversion(chosen)
    return np.concatenate([conversion.train_predicted, conversion.test_predicted])


def map_figure(chosen: Selection, projection: Projection, rows: np.ndarray, gl: bool = True) -> go.Figure:
    """The embedding map of some images as a Plotly figure."""
    info = chosen.model
    conversion = read.conversion(chosen)
    places = read.prototype_places(chosen)
    return projection_figure(
        projection, conversion.prototypes, places, info.class_names, rows, predictions(chosen), chosen.title, gl
    )
