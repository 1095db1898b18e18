"""Patch prototypes: the part of an image that each stands for, and the accuracy of the patches' vote."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import read
from app.components.shared.downloads import show_download
from app.components.shared.job_panel import offer
from app.components.shared.notes import marked
from app.components.shared.picture import show_picture
from app.links import bound, one_of
from app.selection import Selection
from app.wording import A_CLASS
from kmex_core.analysis import export
from kmex_core.commands.patches import patches_job
from kmex_core.data.display import boxed
from kmex_core.prototypes.types import PatchConversion

SIDE, WIDTH = 192, 150


def show_patches(chosen: Selection) -> None:
    """Show the patch prototypes of a model, or the button that finds them."""
    info = chosen.model
    with st.expander("Patch prototypes: parts of images", icon=":material/grid_4x4:"):
        st.caption(
            "Patches are the positions of the network's last feature map. k-means finds prototypes among the patches "
            "of "
            "each class. Each patch of an image votes for the class of its nearest prototype, and the majority decides "
            "(paper, A.4)."
        )
        patches = read.subject(info).patches(chosen.kmeans)
        conversion = read.peek(patches)
        if conversion is not None:
            _show(chosen, conversion)
            return
        offer(
            patches_job(read.subject(info), chosen.kmeans),
            "Find patch prototypes",
            "Finding patch prototypes.",
            "Passes every training image through the network twice: seconds for the demos, minutes for large data.",
        )


def _show(chosen: Selection, conversion: PatchConversion) -> None:
    info, prototypes = chosen.model, conversion.prototypes
    rows, columns = prototypes.grid
    with st.container(horizontal=True):
        for title, value, share in (
            (
                "Accuracy of the vote",
                conversion.accuracy,
                f"the vote of the {rows * columns} patches is the correct class",
            ),
            ("Black box accuracy", conversion.accuracy_black_box, "the network itself predicts the correct class"),
            ("Agreement", conversion.agreement, "both predict the same class"),
        ):
            about = f"Share of the test images for which {share}. Higher is better. {info.caveat}"
            st.metric(marked(f"{title} ↑", info.caveat), f"{value:.1%}", border=True, width=220, help=about)
    names = info.class_names
    bind = bound("patch-class", one_of(names), A_CLASS, names[0])
    name = st.selectbox("Class", names, key="patch-class", width=260, bind=bind)
    train = read.dataset(info).split("train")
    with st.container(horizontal=True):
        for p in np.flatnonzero(prototypes.classes == info.class_names.index(name)).tolist():
            image = int(prototypes.image[p])
            if image < 0:
                st.caption(f"Prototype {p} is a ghost: no patch of its class has it as its nearest.", width=WIDTH)
                continue
            show_picture(
                boxed(train.image(image), prototypes.box(p), SIDE),
                f"Patch prototype {p} of {name}: a rectangle in training image {image}",
                caption=f"{prototypes.importance[p]:.0%} of the class's patches",
                width=WIDTH,
            )
    show_download(
        "All as one image (PNG)",
        lambda: export.patch_sheet(prototypes, info.class_names, read.dataset(info)),
        f"{info.name}-patches.png",
    )
