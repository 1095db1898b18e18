"""One class's prototypes as their number grows: which split, and what their exemplars are."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import read
from app.components.shared.figure import show_figure
from app.figures.lineage import Node, lineage_figure
from app.figures.overlay import address
from app.links import bound_to
from app.selection import Selection
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.sweep import Sweep

LEAST, MOST = 4, 8  # rows


def choose_class(chosen: Selection) -> int:
    """Show the choice of a class."""
    labels = {str(label): name for label, name in enumerate(chosen.model.class_names)}
    bind = bound_to("class", labels, "0")
    return int(st.selectbox("Class", list(labels), format_func=labels.__getitem__, key="class", bind=bind))


def show_lineage(chosen: Selection, sweep: Sweep, label: int) -> None:
    """Show how the prototypes of a class descend from one another.

    Args:
        chosen: the model and the number that is marked.
        sweep: of the first seed.
        label: the class.
    """
    name, found = chosen.model.class_names[label], read.exemplars(chosen, label)
    if found is None:
        return
    train = read.dataset(chosen.model).split("train")
    of_class = read.embeddings(chosen.model, "train").labels == label
    rows = min(max(chosen.kmeans.k, LEAST), MOST, int(sweep.counts[-1, label]))
    nodes = []
    for step in range(rows):
        shares = np.bincount(sweep.cluster[step][of_class], minlength=step + 1) / of_class.sum()
        for number in range(int(sweep.counts[step, label])):
            parent = int(sweep.parent[step, label, number])
            origin = f", from prototype {parent + 1} of {step}" if parent >= 0 else ""
            about = f"Prototype {number + 1} of {step + 1}: {shares[number]:.0%} of the class's training images{origin}"
            picture = address(train.image(int(found[step, number])))
            nodes.append(Node(step + 1, number, parent, float(shares[number]), picture, about))
    st.markdown(
        f"How the prototypes of {markdown(name)} divide: one row for each number of them, each prototype with its "
        "nearest training image, joined to the prototype of the row above that most of its images come from. Thicker "
        "lines stand for more images."
    )
    if chosen.kmeans.k > MOST:
        st.caption(f"The first {MOST} rows of {chosen.kmeans.k}.")
    show_figure("lineage", lineage_figure(nodes, chosen.kmeans.k), f"The prototypes of {name} for 1 to {rows} of them")
