"""What pages need for every number of prototypes per class: computed by the page itself where that is quick."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import read
from app.selection import SMALL, Selection
from kmex_core.base.store import read_only


def computed_here(chosen: Selection) -> bool:
    """Whether the page computes what is missing by itself: a second's work."""
    train = read.embeddings(chosen.model, "train")
    return train.z.size <= SMALL and not read_only()


def compute_sweeps(chosen: Selection, seeds: Sequence[int]) -> None:
    """Compute the sweeps of some seeds and the suggestion, where they are missing; see `computed_here`."""
    subject = read.subject(chosen.model)
    with st.spinner("Converting for 1 to 20 prototypes per class …"):
        for seed in seeds:
            read.result(subject.sweep(chosen.kmeans.seeded(seed)))
        read.result(subject.suggestion(chosen.kmeans.metric))
