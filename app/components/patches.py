"""Prototypes of patches: which part of an image each stands for, and how well the patches' vote decides."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import read
from app.components.downloads import show_download
from app.components.job_panel import follow
from app.components.notes import marked
from app.components.picture import show_picture
from app.links import bound, one_of
from app.selection import Selection
from kmex_core.analysis import export as report
from kmex_core.base import jobs
from kmex_core.base.store import read_only
from kmex_core.data.display import boxed
from kmex_core.prototypes.types import PatchConversion

SIDE, WIDTH = 192, 150


def show_patches(chosen: Selection) -> None:
    """Show the patch prototypes of a model, or the button that finds them."""
    info = chosen.model
    with st.expander("Patches: prototypes of parts of images", icon=":material/grid_4x4:"):
        st.caption(
            "Patches are the places of the network's last feature map. k-means finds prototypes among those of each "
            "class, each patch of an image votes for the class of its nearest one, and the majority decides (paper, "
            "A.4)."
        )
        patches = read.subject(info).patches(chosen.kmeans.k, chosen.kmeans.seed)
        found = read.peek(patches)
        if found is not None:
            _show(chosen, found)
            return
        name = f"patches-{patches.key}"
        asked = st.empty()
        job = jobs.look(read.store(), name)
        if (
            not read_only()
            and (job is None or job.state == "done")
            and not asked.button(
                "Find patch prototypes",
                icon=":material/play_arrow:",
                key=f"ask-{name}",
                help="Every training image goes through the network twice: seconds for the demos, "
                "minutes for large data.",
            )
        ):
            return
        asked.empty()
        follow(
            name,
            ["patches", "--model", info.name, "--k", str(chosen.kmeans.k), "--seed", str(chosen.kmeans.seed)],
            "Finding patch prototypes.",
            "You can leave this page meanwhile.",
        )


def _show(chosen: Selection, found: PatchConversion) -> None:
    info, prototypes = chosen.model, found.prototypes
    rows, columns = prototypes.grid
    with st.container(horizontal=True):
        for title, value, share in (
            (
                "Accuracy of the vote",
                found.accuracy,
                f"most of the {rows * columns} patches are nearest to a prototype of the right class",
            ),
            ("Black box accuracy", found.accuracy_black_box, "the network itself is right"),
            ("Agreement", found.agreement, "both say the same"),
        ):
            about = f"Share of the test images for which {share}. Higher is better. {info.caveat}"
            st.metric(marked(f"{title} ↑", info.caveat), f"{value:.1%}", border=True, width=220, help=about)
    names = info.class_names
    bind = bound("patch-class", one_of(names), "Choose one of this data set's classes.", names[0])
    name = st.selectbox("Class", names, key="patch-class", width=260, bind=bind)
    train = read.dataset(info).split("train")
    with st.container(horizontal=True):
        for p in np.flatnonzero(prototypes.classes == info.class_names.index(name)).tolist():
            image = int(prototypes.image[p])
            if image < 0:
                st.caption(f"Prototype {p} is a ghost: no patch of its class is nearest to it.", width=WIDTH)
                continue
            show_picture(
                boxed(train.image(image), prototypes.box(p), SIDE),
                f"Patch prototype {p} of {name}: a rectangle in training image {image}",
                caption=f"{prototypes.importance[p]:.0%} of the class's patches",
                width=WIDTH,
            )
    show_download(
        "All as one picture (PNG)",
        lambda: report.patch_sheet(prototypes, info.class_names, read.dataset(info)),
        f"{info.name}-patches.png",
    )
