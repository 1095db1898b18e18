"""The concept map of a test image."""

from __future__ import annotations

import streamlit as st

from app import claims, read
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.picture import show_picture
from app.figures.concepts import attribution_figure, concept_figure
from app.figures.overlay import address
from app.links import bound, number_in
from app.selection import Selection
from kmex_core.analysis.concept_picture import concept_picture
from kmex_core.base.plain_text import markdown
from kmex_core.data.seen import seen_picture

SIDE = 256


def show_concept_map(chosen: Selection, blocks: str) -> None:
    """Show a test image, which can be chosen, beside the nearest prototypes of its patches and their attribution.

    Args:
        chosen: the model, whose patch prototypes the store has.
        blocks: of its patches, see `types.BLOCKS`.
    """
    info, test = chosen.model, read.dataset(chosen.model).split("test")
    st.divider()
    st.markdown("**Concept map of a test image**")
    most = len(test) - 1
    index = int(
        st.number_input(
            f"Test image (0 to {most:,})",
            0,
            most,
            0,
            key="patch-image",
            bind=bound("patch-image", number_in(0, most), f"Test images are numbered 0 to {most:,}.", 0),
            width=220,
            help="Position in the test split.",
        )
    )
    concept_map, pixels, label = read.concept_map(chosen, blocks, index), test.image(index), int(test.labels[index])
    st.markdown(claims.concepts(concept_map, info.class_names, label))
    seen, predicted = seen_picture(pixels, info.preprocessing), info.class_names[concept_map.predicted]
    picture = address(seen.pixels)
    image, concepts, attribution = st.columns([3, 4, 4], gap="medium")
    with image:
        st.markdown(f"**Test image {index}**: {markdown(info.class_names[label])}")
        show_picture(pixels, f"Test image {index}, of class {info.class_names[label]}", side=SIDE)
    with concepts:
        st.markdown("**Nearest prototype of each patch**")
        show_figure(
            "concepts",
            concept_figure(concept_map, info.class_names, picture, seen),
            f"Test image {index}, each patch in the colour of its nearest prototype, {len(concept_map.shares)} in all",
        )
    with attribution:
        st.markdown(f"**Similarity to {markdown(predicted)}**")
        low, high = concept_map.attribution.min(), concept_map.attribution.max()
        show_figure(
            "attribution",
            attribution_figure(concept_map, picture, seen),
            f"Similarity of each patch to the nearest prototype of {predicted}, from {low:.4g} to {high:.4g}",
        )
    st.caption(
        "Similarity is the negative squared distance of a patch to the nearest prototype of the class with the highest "
        "mean: high where a patch is like a prototype of this class, low where it is like none of them. It needs no "
        f"gradient, and its mean over the patches is the class's score. {seen.note}"
    )
    show_download(
        "Concept map as PNG",
        lambda: concept_picture(seen, concept_map, info.class_names),
        f"{info.name}-concept-map-{blocks}-{index}.png",
    )
