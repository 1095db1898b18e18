"""All prototypes, in an order, with downloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import streamlit as st

from app import read
from app.components.shared.downloads import show_download
from app.components.shared.gallery import Card, Group, class_groups, prototype_card, show_cards
from app.links import bound_to
from app.prototype_names import prototype_name
from app.selection import Selection
from app.state import address
from kmex_core.analysis import export
from kmex_core.analysis.tables.prototypes import prototype_table
from kmex_core.prototypes.types import Prototypes

ORDERS = {
    "class": "By class",
    "importance": "Most important first",
    "least": "Least important first",
    "wrong": "Most images of other classes first",
}


def choose_order() -> str:
    """Show the choice of an order; a key of `ORDERS`."""
    return st.selectbox(
        "Order",
        list(ORDERS),
        format_func=ORDERS.__getitem__,
        key="order",
        width=260,
        bind=bound_to("order", ORDERS, "class"),
        help="*Most images of other classes first* starts with prototypes that attract the wrong images.",
    )


def in_order(prototypes: Prototypes, order: str) -> np.ndarray:
    """Numbers of all prototypes, in an order of `ORDERS`."""
    by = {
        "class": np.arange(len(prototypes)),
        "importance": -prototypes.importance,
        "least": prototypes.importance,
        "wrong": prototypes.count - prototypes.count_all,
    }[order]
    return np.argsort(by, kind="stable")


def show_list(chosen: Selection, order: str, classes: Sequence[int] | None) -> str:
    """Show the prototypes of some classes (all when None); the number of the one just clicked, else ""."""
    info = chosen.model
    prototypes = read.conversion(chosen).prototypes
    numbers = in_order(prototypes, order).tolist()

    def href(p: int) -> str:
        return address("prototypes", prototype=prototype_name(p, prototypes.classes))

    if order == "class":
        groups = class_groups(info, prototypes, numbers, href, classes)
    else:
        shown = [p for p in numbers if classes is None or prototypes.classes[p] in classes]
        cards = [prototype_card(info, prototypes, p, href(p)) for p in shown]
        groups = [
            Group(
                [
                    _named(card, info.class_names[prototypes.classes[p]], prototypes, p, order)
                    for card, p in zip(cards, shown, strict=True)
                ]
            )
        ]
    return show_cards("prototypes", info, read.dataset(info).fingerprint, groups)


def _named(card: Card, name: str, prototypes: Prototypes, p: int, order: str) -> Card:
    others = int(prototypes.count_all[p] - prototypes.count[p])
    return replace(card, text=f"{name}: {others:,} wrong" if order == "wrong" else f"{name}: {card.text}")


def show_downloads(chosen: Selection) -> None:
    """Show the buttons that download the prototypes as an image, as a table, or as both with all images."""
    info = chosen.model
    data = read.dataset(info)
    prototypes = read.conversion(chosen).prototypes
    name = f"{info.name}-{chosen.source.slug}-prototypes"

    with st.container(horizontal=True):
        show_download(
            "All as one image (PNG)",
            lambda: export.prototype_sheet(prototypes, info.class_names, data),
            f"{name}.png",
        )
        show_download("Table (CSV)", prototype_table(prototypes, info.class_names), f"{name}.csv")
        show_download(
            "Images and table (ZIP)",
            lambda: export.prototype_archive(prototypes, info.class_names, data),
            f"{name}.zip",
        )
