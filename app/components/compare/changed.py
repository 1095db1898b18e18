"""The images that two models predict differently or group differently, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from app import read
from app.components.shared.downloads import show_download
from app.components.shared.explore_links import show_links
from app.components.shared.gallery import TINY, Card, Group, show_cards
from app.components.shared.web import component
from app.explore_links import explore_address
from app.links import bound, one_of, pick, picked
from app.prototype_names import prototype_name, prototype_title
from app.routes import pictures
from app.selection import Selection
from app.wording import A_CLASS
from kmex_core.analysis.changes import NONE, PrototypeChanges, shared_images
from kmex_core.analysis.tables.changes import changes_table
from kmex_core.base.plain_text import markdown, table_csv
from kmex_core.prototypes.types import Prototypes

MOST = 24

_changes = component("changes")
Pair = tuple[Selection, Selection]


def show_classes(pair: Pair, labels: tuple[str, str], changed: np.ndarray) -> None:
    """Show the test images whose predicted class changes, worst first.

    Args:
        pair: the two models.
        labels: their names.
        changed: test images, see `class_changes`.
    """
    st.subheader("Images with another predicted class", anchor=False)
    if len(changed) == 0:
        st.caption("Both models predict the same class for every test image.")
        return
    info, data = pair[0].model, read.dataset(pair[0].model)
    names, truth = info.class_names, data.split("test").labels
    before, after = (read.conversion(each).test_predicted for each in pair)
    cards = [
        Card(
            "",
            f"test/{image}",
            f"Test image {image} of {names[truth[image]]}: {labels[0]} predicts {names[before[image]]}, "
            f"{labels[1]} {names[after[image]]}",
            f"{names[before[image]]} → {names[after[image]]}",
            explore_address(chosen=pair[1], point=f"test-{image}"),
            wrong=bool(after[image] != truth[image]),
        )
        for image in changed[:MOST].tolist()
    ]
    show_cards("changed-classes", info, data.fingerprint, [Group(cards)])
    shown = f"The first {MOST} of {len(changed):,}. " if len(changed) > MOST else ""
    st.caption(
        f"{shown}First those that only A predicts correctly, B's most confident predictions first; then those that "
        "both get wrong, then those that only B gets right. Outlined: B is wrong. Click one to open it in Explore."
    )
    show_download(
        "Changes as CSV",
        lambda: table_csv(
            changes_table(read.conversion(pair[0]), read.conversion(pair[1]), data.split("train").labels, truth, names)
        ),
        "changes.csv",
        "Every image with both models' class and prototype.",
    )


def show_prototypes(pair: Pair, labels: tuple[str, str], changes: PrototypeChanges) -> None:
    """Show which prototypes of a class share which training images, and the images of a pair that is clicked."""
    st.subheader("Images with another prototype", anchor=False)
    info, data = pair[0].model, read.dataset(pair[0].model)
    truth = data.split("train").labels
    share = np.bincount(truth[changes.changed], minlength=len(info.class_names)) / np.maximum(1, np.bincount(truth))
    most = info.class_names[int(share.argmax())]
    name = st.selectbox(
        "Class",
        info.class_names,
        info.class_names.index(most),
        key="of",
        width=280,
        bind=bound("of", one_of(info.class_names), A_CLASS, most),
        on_change=lambda: pick("cell", ""),
    )
    label = info.class_names.index(name)
    a, b = (read.conversion(each).prototypes for each in pair)
    of_a, of_b = (np.flatnonzero(each.classes == label) for each in (a, b))
    rows = truth == label
    counts = shared_images((a.activated, b.activated), (of_a, of_b), rows)
    cell = chosen_cell(pair)
    chosen = cell["places"] if cell is not None and cell["label"] == label else None
    match = [int(np.flatnonzero(of_b == p)[0]) if p != NONE else NONE for p in changes.match[of_a].tolist()]
    clicked = _changes(
        key="changes",
        data={
            "pictures": pictures.folder(info.name, data.fingerprint),
            "pixelated": info.image_size <= TINY,
            "models": list(labels),
            "rows": _heads(a, of_a, name, labels[0]),
            "columns": _heads(b, of_b, name, labels[1]),
            "counts": counts.tolist(),
            "match": [*match, NONE],
            "chosen": chosen,
        },
        on_picked_change=lambda: None,
    ).picked
    if clicked is not None:
        pick("cell", f"{label}.{clicked}" if clicked else "")
        st.rerun()
    st.caption(
        f"Training images of **{markdown(name)}** by their nearest prototype. Framed: prototypes that are matched, so "
        "that they share as many images as possible. Click a number to see its images."
    )
    if chosen is not None:
        _show_cell(pair, labels, (of_a, of_b), chosen, rows)


def _heads(prototypes: Prototypes, numbers: np.ndarray, name: str, label: str) -> list[dict[str, str]]:
    heads = [
        {
            "name": str(place),
            "picture": f"train/{prototypes.exemplar[p]}" if prototypes.exemplar[p] >= 0 else "",
            "about": f"prototype {place} of {name} by {label}",
        }
        for place, p in enumerate(numbers, 1)
    ]
    return [*heads, {"name": "other class", "picture": "", "about": f"a prototype of another class of {label}"}]


def chosen_cell(pair: Pair) -> dict[str, Any] | None:
    """The cell of the matrix that the address names, for the maps: `<class>.<row>.<column>`, each a number; None for
    none that there is."""
    parts = picked("cell").split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        return None
    label, *places = map(int, parts)
    numbers = [np.flatnonzero(read.conversion(each).prototypes.classes == label).tolist() for each in pair]
    if not all(numbers) or any(place > len(own) for place, own in zip(places, numbers, strict=True)):
        return None
    prototypes = [own[place] if place < len(own) else None for place, own in zip(places, numbers, strict=True)]
    return {"label": label, "prototypes": prototypes, "ofClass": numbers, "places": places}


def _show_cell(
    pair: Pair, labels: tuple[str, str], numbers: tuple[np.ndarray, np.ndarray], cell: Sequence[int], rows: np.ndarray
) -> None:
    """Show the training images of a cell of the matrix."""
    info, data = pair[0].model, read.dataset(pair[0].model)
    for each, of_class, place in zip(pair, numbers, cell, strict=True):
        nearest = read.conversion(each).prototypes.activated
        rows = rows & (nearest == of_class[place] if place < len(of_class) else ~np.isin(nearest, of_class))
    images = np.flatnonzero(rows)
    cards = [
        Card("", f"train/{i}", f"Training image {i}", f"{i:,}", explore_address(chosen=pair[1], point=f"train-{i}"))
        for i in images[:MOST].tolist()
    ]
    title = f"{len(images):,} training images"
    show_cards("changed-prototypes", info, data.fingerprint, [Group(cards, title)])
    if len(images) > MOST:
        st.caption(f"The first {MOST} of {len(images):,}.")
    for each, label, of_class, place in zip(pair, labels, numbers, cell, strict=True):
        if place < len(of_class):
            p, classes = int(of_class[place]), read.conversion(each).prototypes.classes
            href = explore_address(f"prototype:{prototype_name(p, classes)}", chosen=each)
            title = prototype_title(p, classes, info.class_names)
            show_links([(f"{title} by {label}: all its images in Explore", href)])
