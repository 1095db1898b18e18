"""Two models image by image: which are chosen, their maps side by side, and what changes from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from app import read
from app.claims.comparison import changed_classes, changed_prototypes
from app.components.compare.changed import chosen_cell, show_classes, show_prototypes
from app.components.compare.measuring import label_of
from app.components.shared.job_panel import offer
from app.components.shared.web import component
from app.explore_links import explore_address
from app.links import bound, one_of, pick
from app.routes import pictures, workspace
from app.selection import Selection
from app.wording import MAY_BE_GONE
from app.workspace.given import addresses, cloud_address, model_given
from kmex_core.analysis.changes import PrototypeChanges, class_changes, prototype_changes
from kmex_core.commands.embedding_map import embedding_map_job
from kmex_core.stages.embedding_map import EmbeddingMap

_pair = component("pair", "map", "explore")
Pair = tuple[Selection, Selection]


def show_pair(chosen: Selection, options: Sequence[Selection]) -> None:
    """Show what changes between two of the compared models, those of the address.

    Args:
        chosen: the selection of the sidebar, the first one unless the address names another.
        options: models by their sources of prototypes, whose images have passed through their networks.
    """
    by_label = {label_of(each): each for each in options}
    if len(by_label) < 2:
        st.info("Choose a second model above, or measure it, to see which images change.")
        return
    pair = _choose(chosen, by_label)
    if pair is None:
        st.info("Choose two different rows.")
        return
    split = read.dataset(chosen.model).split
    train, test = split("train").labels, split("test").labels
    if any(not np.array_equal(read.embeddings(each.model, "train").labels, train) for each in pair):
        st.info("The two models were not embedded on the same images, so nothing can be compared image by image.")
        return
    a, b = (read.conversion(each) for each in pair)
    nearest = a.prototypes.activated, b.prototypes.activated
    changes = prototype_changes(nearest, (a.prototypes.classes, b.prototypes.classes), train)
    changed = class_changes(test, a.test_predicted, b.test_predicted, b.test_confidence)
    labels = label_of(pair[0]), label_of(pair[1])
    st.markdown(changed_classes(labels, test, (a.test_predicted, b.test_predicted)))
    st.markdown(changed_prototypes(labels, changes))
    _show_maps(pair, changes)
    show_classes(pair, labels, changed)
    show_prototypes(pair, labels, changes)


def _choose(chosen: Selection, by_label: dict[str, Selection]) -> Pair | None:
    """Show the choice of two rows; None for twice the same."""
    names = list(by_label)
    first = label_of(chosen) if label_of(chosen) in by_label else names[0]
    others = [name for name in names if by_label[name].model.name != by_label[first].model.name]
    alike = [name for name in others if by_label[name].source.built_in == by_label[first].source.built_in]
    second = (alike or others or [name for name in names if name != first])[0]
    picks = []
    for column, key, default in zip(st.columns(2), ("a", "b"), (first, second), strict=True):
        with column:
            place = names.index(default)
            bind = bound(key, one_of(names), MAY_BE_GONE, default)
            picks.append(st.selectbox(f"Model {key.upper()}", names, place, key=key, bind=bind, on_change=_forget))
    one, other = (by_label[name] for name in picks)
    return (one, other) if one != other else None


def _forget() -> None:
    pick("cell", "")


def _show_maps(pair: Pair, changes: PrototypeChanges) -> None:
    """Show both embedding maps; what is chosen on one is marked on both."""
    missing = {each.model.name: each.model for each in pair if read.peek(_map_of(each)) is None}
    for name, info in missing.items():
        offer(
            embedding_map_job(read.subject(info)),
            f"Compute the embedding map of {name}",
            f"Computing the embedding map of {name}.",
            "Takes up to a minute, once per model.",
        )
    if missing:
        st.caption("The two maps appear here once both are computed.")
        return
    data = read.dataset(pair[0].model)
    cell = chosen_cell(pair)
    _pair(
        key="pair",
        data={
            "pictures": pictures.folder(pair[0].model.name, data.fingerprint),
            "models": [_model(each) for each in pair],
            "match": changes.match.tolist(),
            "cell": cell,
        },
    )
    st.caption(
        "Each dot is an image, each square a prototype. Click an image on one map to find it on the other; outline "
        "images on one to see where the other has them. The two maps were drawn separately, so places cannot be "
        "compared, only what is near what."
    )


def _map_of(selection: Selection) -> EmbeddingMap:
    return read.subject(selection.model).embedding_map()


def _model(selection: Selection) -> dict[str, Any]:
    """A model for the component."""
    subject = read.subject(selection.model)
    return {
        "title": label_of(selection),
        "base": workspace.base(selection.model.name),
        "cloud": cloud_address(subject),
        "layer": addresses(subject, selection.source)["layer"],
        "explore": explore_address(chosen=selection),
        "model": model_given(subject, selection),
    }
