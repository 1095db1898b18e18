"""A prototype: what it stands for, which images it attracts, and its errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app import read
from app.components.shared.built_in_prototype import show_built_in
from app.components.shared.explore_links import show_explore_links
from app.components.shared.gallery import Card, Group, show_cards
from app.components.shared.picture import show_picture
from app.links import number_in, pick, picked, refuse
from app.prototype_names import prototype_name
from app.selection import Selection
from kmex_core.base.plain_text import markdown
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.types import NO_IMAGE, Prototypes

PAGE = 24
MOST_CLASSES = 5  # of images that a prototype attracts
SIDE = 224


def show_prototype_summary(chosen: Selection, p: int) -> None:
    """Show a prototype's exemplar, importance and errors in a few lines."""
    info = chosen.model
    prototypes = read.conversion(chosen).prototypes
    name = info.class_names[prototypes.classes[p]]
    count = int((prototypes.classes == prototypes.classes[p]).sum())
    place = f"One of {count} prototypes" if count > 1 else "The only prototype"
    st.markdown(f"{place} of **{markdown(name)}**")
    picture = int(prototypes.exemplar[p])
    if picture >= 0:
        show_picture(
            read.dataset(info).split("train").image(picture),
            f"The training image of {name} nearest to this prototype",
            caption=f"Exemplar: training image {picture:,}",
            side=SIDE,
        )
    st.markdown(importance_in_words(info, prototypes, p))
    show_built_in(chosen, p)


def importance_in_words(info: ModelInfo, prototypes: Prototypes, p: int) -> str:
    """What a prototype stands for, and what it gets wrong, as a sentence or two of Markdown."""
    name = markdown(info.class_names[prototypes.classes[p]])
    size = int(prototypes.class_size[prototypes.classes[p]])
    if prototypes.ghost[p]:
        of_class = f"A **ghost**: it is not the nearest prototype of any of the {size:,} training images of {name}."
    else:
        of_class = (
            f"Importance **{prototypes.importance[p]:.1%}**: it is the nearest prototype of {prototypes.count[p]:,} of "
            f"the {size:,} training images of {name}."
        )
    others = int(prototypes.count_all[p] - prototypes.count[p])
    wrong = (
        f"It also attracts **{others:,}** training images of other classes."
        if others
        else ("It attracts no training images of other classes.")
    )
    return f"{of_class} {wrong}"


def show_prototype_images(chosen: Selection, p: int) -> None:
    """Show the training images that a prototype attracts, nearest first: own class, then other classes."""
    info = chosen.model
    prototypes = read.conversion(chosen).prototypes
    of_class, others = read.attracted(chosen, p)
    nearest_any = int(prototypes.nearest_any[p])
    if nearest_any >= 0 and nearest_any != int(prototypes.exemplar[p]):
        label = int(read.embeddings(info, "train").labels[nearest_any])
        st.warning(
            f"The training image nearest to this prototype is of another class: image {nearest_any:,}, "
            f"{markdown(info.class_names[label])}.",
            icon=":material/compare_arrows:",
        )
        _images("any", chosen, np.array([nearest_any]), wrong=True)
    label = int(prototypes.classes[p])
    name = markdown(info.class_names[label])
    if len(of_class):
        st.header(f"Stands for {len(of_class):,} images of {name}", anchor=False)
        st.caption("The training images of its class that it is the nearest prototype of, nearest first.")
        _paged("own", chosen, of_class)
        show_explore_links([_selects("Select all in Explore", chosen, p, f"class:{label}")])
    if len(of_class) == 0 or not chosen.is_kmex:
        st.header(f"Most similar images of {name}", anchor=False)
        st.caption("Another prototype may be nearer to them.")
        near = prototypes.nearest[p]
        _images("near", chosen, near[near != NO_IMAGE])
    if len(others):
        st.header(f"Attracts {len(others):,} images of other classes", anchor=False)
        weighs = "" if chosen.is_kmex else " The model weighs all prototypes, so it may still be correct."
        st.caption(f"Training images of other classes whose nearest prototype is this one.{weighs}")
        _paged("others", chosen, others, wrong=True)
        _show_classes(chosen, p, others)


def _show_classes(chosen: Selection, p: int, others: np.ndarray) -> None:
    """Show which other classes a prototype attracts images of, as links to those images."""
    names, labels = chosen.model.class_names, read.dataset(chosen.model).split("train").labels[others]
    counts = np.bincount(labels, minlength=len(names))
    most = [label for label in np.argsort(-counts, kind="stable")[:MOST_CLASSES].tolist() if counts[label]]
    links = [_selects(f"{names[label]}: {counts[label]:,}", chosen, p, f"class:{label}") for label in most]
    if chosen.is_kmex:  # its nearest prototype decides, so all of them are misclassified
        links = [_selects("Select these mistakes in Explore", chosen, p, "wrong"), *(links if len(links) > 1 else [])]
    show_explore_links(links)


def _selects(label: str, chosen: Selection, p: int, condition: str) -> tuple[str, tuple[str, str, str]]:
    """A link to the training images that a prototype attracts and a condition holds for."""
    name = prototype_name(p, read.conversion(chosen).prototypes.classes)
    return label, (f"prototype:{name}", condition, "split:train")


def _paged(key: str, chosen: Selection, rows: Sequence[int] | np.ndarray, wrong: bool = False) -> None:
    pages = -(-len(rows) // PAGE)
    requested = picked(key)
    if requested and not number_in(1, pages)(requested):
        refuse(key, requested, f"There are {pages:,} pages of these images; the first is shown.")
    shown = PAGE * (int(requested) if number_in(1, pages)(requested) else 1)
    _images(key, chosen, np.asarray(rows[:shown]), wrong)
    if shown < len(rows):
        more = min(PAGE, len(rows) - shown)
        if st.button(f"Show {more} more", key=f"more-{key}", icon=":material/expand_more:"):
            pick(key, str(shown // PAGE + 1))
            st.rerun()


def _images(key: str, chosen: Selection, rows: np.ndarray, wrong: bool = False) -> None:
    info = chosen.model
    labels = read.dataset(info).split("train").labels
    cards = [
        Card(
            str(row),
            f"train/{row}",
            f"Training image {row} of {info.class_names[labels[row]]}",
            info.class_names[labels[row]] if wrong else f"{row:,}",
            wrong=wrong,
        )
        for row in rows.tolist()
    ]
    show_cards(f"images-{key}", info, read.dataset(info).fingerprint, [Group(cards)])
