"""Why this class and not that one: the nearest prototypes of two classes, and one signed map between them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import read
from app.claims.predictions import sides
from app.components.explain.explanation import show_verdict
from app.components.explain.image_picker import Picked
from app.components.shared.relevance import show_figures
from app.figures.overlay import ground, mapped, plain
from app.links import bound_to
from app.selection import Selection
from kmex_core.base.plain_text import markdown
from kmex_core.prototypes.types import Prototypes
from kmex_core.relevance.catalogue import DEFAULT_TARGET, MapKind
from kmex_core.relevance.types import Explanation

COLUMNS = 3


def show_contrast(
    chosen: Selection, prototypes: Prototypes, explanation: Explanation, picked: Picked, maps: MapKind
) -> None:
    """Show which pixels speak for the predicted class and which for a rival, which can be chosen.

    Args:
        chosen: the model.
        prototypes: its prototypes.
        explanation: the image's explanation.
        picked: the image.
        maps: the kind of the other maps on the page; this one is of the margin, by the same method.
    """
    names, classes = chosen.model.class_names, prototypes.classes
    order = np.argsort(explanation.distance, kind="stable")
    nearest = {int(classes[p]): int(p) for p in order[::-1]}
    own = explanation.predicted
    rivals = [int(label) for label in dict.fromkeys(classes[order].tolist()) if label != own]
    if own not in nearest or not rivals:
        return
    labels = {str(label): names[label] for label in rivals}
    with st.container(border=True):
        heading, choice = st.columns([3, 1], vertical_alignment="bottom")
        rival = int(
            choice.selectbox(
                "Rival class",
                list(labels),
                format_func=labels.__getitem__,
                key="rival",
                bind=bound_to("rival", labels, str(rivals[0])),
                help="The class that the prediction is compared with, nearest first.",
            )
        )
        heading.subheader(f"Why {markdown(names[own])} and not {markdown(names[rival])}?")
        p, q = nearest[own], nearest[rival]
        # against the nearest rival it is, as a rule, the first of the explanation's maps
        known = maps.target == DEFAULT_TARGET and (explanation.prototypes[0], explanation.maps.rivals[0]) == (p, q)
        found = (
            explanation.maps[:1] if known else read.contrast(chosen, picked.name, picked.pixels, (p, q), maps.method)
        )
        train, preprocessing = read.dataset(chosen.model).split("train"), chosen.model.preprocessing
        image = ground(picked.pixels, preprocessing)
        exemplars = [ground(train.image(int(prototypes.exemplar[each])), preprocessing) for each in (p, q)]
        figures = [
            plain(exemplars[0], f"Nearest prototype of {names[own]}"),
            mapped(image, found, 0, f"Red speaks for {names[own]}, blue for {names[rival]}"),
            plain(exemplars[1], f"Nearest prototype of {names[rival]}"),
        ]
        show_figures("contrast", figures, COLUMNS)
        st.caption(sides(found, names[own], names[rival]))
        if not known:  # else it is that of the nearest prototype, below
            (verdict,) = read.verdicts(chosen, picked.name, picked.pixels, [p], found)
            show_verdict("contrast-verdict", verdict, names[own])
