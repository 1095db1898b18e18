"""The card of an image on the embedding map: its class, the predictions, its nearest prototypes."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import read
from app.components.shared.gallery import Card, Group, prototype_card, show_cards
from app.components.shared.picture import show_picture
from app.components.shared.prototype_card import open_prototype
from app.links import prototype_name
from app.selection import Selection
from app.state import address, query
from app.wording import EXPLAIN
from kmex_core.analysis.types import Projection
from kmex_core.base.plain_text import markdown

MOST = 4
SIDE = 224


def show_image_card(chosen: Selection, projection: Projection, split: str, index: int) -> None:
    """Show an image of the data set: class, predictions, nearest prototypes with similarities, a link to Explain."""
    info = chosen.model
    data = read.dataset(info)
    images = data.split(split)
    conversion = read.conversion(chosen)
    kind = "Training" if split == "train" else "Test"
    similarity = read.similarities(chosen, split, index)
    order = np.argsort(-similarity, kind="stable")[:MOST]
    label = int(images.labels[index])
    predicted = int((conversion.train_predicted if split == "train" else conversion.test_predicted)[index])
    black_box = int(projection.black_box[index if split == "train" else len(projection.train) + index])
    st.markdown(f"**{kind} image {index:,}**: {markdown(info.class_names[label])}")
    show_picture(images.image(index), f"{kind} image {index} of {info.class_names[label]}", side=SIDE)
    beside = f"  \nBlack box predicts {_verdict(info.class_names, black_box, label)}" if chosen.has_black_box else ""
    st.markdown(f"{chosen.title} predicts {_verdict(info.class_names, predicted, label)}{beside}")
    if images.attribute_names:
        attributes = np.flatnonzero(images.attributes[index])
        has = [images.attribute_names[attribute].replace("_", " ") for attribute in attributes]
        st.caption("Attributes: " + (markdown(", ".join(has)) if has else "none"))
    st.markdown("**Nearest prototypes** (similarity ↑)")
    cards = []
    for p in order:
        card = prototype_card(info, conversion.prototypes, int(p))
        href = address("prototypes", prototype=prototype_name(int(p), conversion.prototypes.classes))
        name = info.class_names[conversion.prototypes.classes[p]]
        cards.append(Card(card.id, card.picture, card.about, f"{name}: {similarity[p]:.3f}", href, ghost=card.ghost))
    if name := show_cards("nearest", info, data.fingerprint, [Group(cards)]):
        open_prototype(chosen, int(name))
    where = "training" if split == "train" else "image"
    st.page_link(
        "views/explain.py",
        label=EXPLAIN,
        icon=":material/image_search:",
        query_params=query(source=f"{kind} image", **{where: index}),
    )


def _verdict(names: tuple[str, ...], predicted: int, label: int) -> str:
    return f"**{markdown(names[predicted])}** {'✓ correct' if predicted == label else '✗ wrong'}"
