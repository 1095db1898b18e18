"""The metrics on relevance maps, measured in the background."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.shared.job_panel import offer
from app.links import bound, one_of
from app.selection import Selection
from app.wording import message
from kmex_core.base.plain_text import markdown
from kmex_core.commands import evaluation
from kmex_core.models.info import ModelInfo
from kmex_core.relevance.catalogue import PUBLISHED, MapKind
from kmex_core.stages.relevance_scores import RelevanceScores

IMAGES = (100, 300, 1000)


def choose_images(info: ModelInfo) -> int:
    """Show the choice of how many test images relevance maps are measured on."""
    return st.selectbox(
        "Test images",
        IMAGES,
        key="images",
        width=160,
        bind=bound("images", one_of(IMAGES), f"Choose one of {', '.join(map(str, IMAGES))}.", IMAGES[0]),
        help=f"Number of test images for the metrics on relevance maps, drawn at random from the "
        f"{len(read.dataset(info).split('test')):,}. The paper uses 1,000; fewer are faster but less certain.",
    )


def measure(chosen: Selection, images: int, runs: int = 1, maps: MapKind | None = None) -> bool:
    """Show a button that measures relevance maps, or the job's progress; True when there is nothing to do.

    The work continues while other pages are open, and this page finds it again when it is reloaded.
    """
    maps = maps or chosen.model.default_maps
    if _are_measured(chosen, images, runs, maps):
        return True
    label = _label(chosen)
    if why := read.why_no_maps(chosen, maps):
        st.info(f"Not computed for {markdown(label)}. {message(why)}", icon=":material/block:")
        return False
    subject = read.subject(chosen.model)
    count = f"{_counted(chosen, images):,} test images" + (f" in each of {runs} runs" if runs > 1 else "")
    offer(
        evaluation.relevance_maps_job(subject, chosen.source, images, runs, maps),
        f"Measure relevance maps of {label}",
        f"Measuring relevance maps of {label} on {count}.",
        "Takes seconds for the demos, minutes for 1,000 images of a ResNet34 on two cores. Finished measurements are "
        "kept.",
        "primary",
    )
    return False


def _are_measured(chosen: Selection, images: int, runs: int, maps: MapKind) -> bool:
    return all(read.scores(chosen, images, seed, maps) is not None for seed in range(runs))


def _scores(chosen: Selection, images: int) -> RelevanceScores:
    return read.subject(chosen.model).relevance_scores(chosen.source.seeded(0), images, maps=PUBLISHED)


def _counted(chosen: Selection, images: int) -> int:
    return _scores(chosen, images).spec.images  # there may be fewer test images


def _label(chosen: Selection) -> str:
    kind = " alone" if chosen.source.built_in else " + KMEx" if chosen.model.kind != "blackbox" else ""
    return f"{chosen.model.name}{kind}"
