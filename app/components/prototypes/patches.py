"""Patch prototypes: the part of an image that each stands for, and how well an image's patches tell its class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from app import claims, read
from app.components.prototypes.concept_map import show_concept_map
from app.components.shared.downloads import show_download
from app.components.shared.job_panel import offer
from app.components.shared.notes import marked
from app.components.shared.picture import show_picture
from app.links import bound, bound_switch, bound_to, one_of
from app.selection import DEFAULT_K, Selection
from app.wording import A_CLASS, interval, message
from kmex_core.analysis import export
from kmex_core.commands.patches import patches_job
from kmex_core.data.display import boxed
from kmex_core.data.seen import seen_picture
from kmex_core.metrics import wilson_interval
from kmex_core.prototypes.source import SUGGESTED, KMeans
from kmex_core.prototypes.types import LAST, SEVERAL, PatchConversion

SIDE, WIDTH, METRIC = 192, 150, 224
TITLES = {LAST: "Last block", SEVERAL: "Several blocks"}


def show_patches(chosen: Selection) -> None:
    """Show the patch prototypes of a model and concept maps, or the button that finds the prototypes."""
    section = st.expander(
        "Patch prototypes and concept maps",
        icon=":material/grid_4x4:",
        key="patches",
        on_change="rerun",
        bind=bound_switch("patches", False),
    )
    if not section.open:  # what is offered depends on the network, which takes seconds to load
        return
    with section:
        st.caption(
            "A patch is a position of the network's feature maps. k-means finds prototypes among the patches of each "
            "class; a concept map shows the nearest one of each patch of an image (paper, A.4; Boubekki & Clemmensen, "
            "2026)."
        )
        blocks = _choose_blocks(chosen)
        if not blocks:
            return
        subject = read.subject(chosen.model)
        conversion = read.peek(subject.patches(_source(chosen), blocks))
        if conversion is not None:
            _show(chosen, blocks, conversion)
            return
        offer(
            patches_job(subject, _source(chosen), blocks),
            "Find patch prototypes",
            "Finding patch prototypes.",
            "Passes every training image through the network two or three times: seconds to minutes for the demos, "
            "longer for large data.",
        )


def _choose_blocks(chosen: Selection) -> str:
    """Show the choice of the blocks that the network has; "" for none."""
    subject = read.subject(chosen.model)
    missing = {
        blocks: "" if subject.patches(_source(chosen), blocks).exists() else read.why_no_patches(chosen.model, blocks)
        for blocks in TITLES
    }
    offered = {blocks: title for blocks, title in TITLES.items() if not missing[blocks]}
    for blocks in TITLES:
        if missing[blocks]:
            st.info(message(f"{TITLES[blocks]}: {missing[blocks]}"), icon=":material/block:")
    if len(offered) < 2:
        return next(iter(offered), "")
    return str(
        st.segmented_control(
            "Feature maps",
            list(offered),
            format_func=offered.__getitem__,
            default=LAST,
            required=True,
            key="blocks",
            bind=bound_to("blocks", offered, LAST),
            help="Last block: the feature map before global average pooling. Several blocks: those of the network's "
            "last three stages, resized to the finest and concatenated, each divided by the root of its mean channel "
            "variance; compared by Euclidean distances, whatever the metric of the embedding.",
        )
    )


def _show(chosen: Selection, blocks: str, conversion: PatchConversion) -> None:
    _show_accuracies(chosen, blocks, conversion)
    _show_prototypes(chosen, blocks, conversion)
    show_concept_map(chosen, blocks)


def _show_accuracies(chosen: Selection, blocks: str, conversion: PatchConversion) -> None:
    info, kmex, labels = chosen.model, read.conversion(chosen), read.dataset(chosen.model).split("test").labels
    with st.container(horizontal=True):
        for title, value, agreement, share in (
            ("Black box", conversion.accuracy_black_box, None, "the network itself predicts the correct class"),
            (
                "KMEx",
                kmex.summary.accuracy_kmex,
                kmex.summary.agreement,
                "the nearest prototype of the whole image has the correct class",
            ),
            (
                "Patches, mean similarity",
                conversion.accuracy_similarity,
                conversion.agreement_similarity,
                "the correct class has the highest mean similarity: the negative squared distance of a patch to the "
                "class's nearest prototype, averaged over the patches",
            ),
            (
                "Patches, majority vote",
                conversion.accuracy_vote,
                conversion.agreement_vote,
                "most patches have their nearest prototype in the correct class",
            ),
        ):
            if value is None:  # a network that predicts none of the classes
                continue
            st.metric(
                marked(f"{title} ↑", info.caveat),
                f"{value:.1%}",
                f"{len(labels):,} test images" if agreement is None else f"{agreement:.1%} as the black box",
                delta_color="off",
                delta_arrow="off",
                border=True,
                width=METRIC,
                help=f"Share of {len(labels):,} test images for which {share}"
                + ("" if agreement is None else ", and of those for which it predicts the black box's class")
                + f". Higher is better. {interval(*wilson_interval(value, len(labels)))} {info.caveat}",
            )
    subject = read.subject(info)
    words = [claims.patch_trade_off(conversion, kmex.test_predicted, labels, len(info.class_names))]
    others = [read.peek(subject.patches(_source(chosen), other)) for other in TITLES if other != blocks]
    words += [claims.finer_patches(conversion, other) for other in others if other is not None]
    st.markdown(" ".join(words))


def _show_prototypes(chosen: Selection, blocks: str, conversion: PatchConversion) -> None:
    info, prototypes = chosen.model, conversion.prototypes
    names = info.class_names
    bind = bound("patch-class", one_of(names), A_CLASS, names[0])
    name = st.selectbox("Class", names, key="patch-class", width=260, bind=bind)
    train = read.dataset(info).split("train")
    with st.container(horizontal=True):
        for p in np.flatnonzero(prototypes.classes == names.index(name)).tolist():
            image = int(prototypes.image[p])
            if image < 0:
                st.caption(f"Patch prototype {p} is a ghost: no patch of its class has it as its nearest.", width=WIDTH)
                continue
            seen = seen_picture(train.image(image), info.preprocessing)
            show_picture(
                boxed(seen.pixels, seen.part(prototypes.box(p)), SIDE),
                f"Patch prototype {p} of {name}: a rectangle in training image {image}",
                caption=f"Patch prototype {p}: {prototypes.importance[p]:.0%} of the class's patches",
                width=WIDTH,
            )
    show_download(
        "All as one image (PNG)",
        lambda: export.patch_sheet(prototypes, info, read.dataset(info)),
        f"{info.name}-patches-{blocks}.png",
    )


def _source(chosen: Selection) -> KMeans:
    """How many patch prototypes: what is suggested is for whole images, not for patches."""
    return replace(chosen.kmeans, k=DEFAULT_K) if chosen.kmeans.k == SUGGESTED else chosen.kmeans
