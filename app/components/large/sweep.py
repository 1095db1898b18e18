"""The number of prototypes per class, and what each number gives."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app.claims.large import agreement_of, at_k, black_box_accuracy
from app.components.large.choice import WIDTH
from app.components.shared.figure import show_figure
from app.components.shared.job_panel import offer
from app.figures.large import over_k_figure
from app.links import bound, number_in
from app.wording import MEANWHILE
from kmex_core.commands.sweep import sharded_sweep_job
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import TileMap

DEFAULT = 5


def offer_sweep(embedding: ShardedEmbedding) -> None:
    """Offer to find the prototypes, and show the command that does."""
    request = sharded_sweep_job(embedding)
    st.info(f"Its prototypes have not been found yet: start it here, or on the command line. {MEANWHILE}")
    st.code(request.command, language=None, wrap_lines=True)
    offer(request, "Find prototypes", "Finding prototypes.", "Takes about a minute for a million images.", "primary")


def choose_k(sweep: ShardedSweep) -> int:
    """Show the slider: all numbers were computed, so it looks them up."""
    most = len(sweep.accuracy)
    return st.slider(
        "Prototypes per class",
        1,
        max(2, most),
        min(DEFAULT, most),
        key="per_class",
        bind=bound("per_class", number_in(1, most), f"Choose 1 to {most} per class.", min(DEFAULT, most)),
        width=WIDTH,
    )


def show_at_k(embedding: ShardedEmbedding, sweep: ShardedSweep, k: int) -> None:
    """Say how well the chosen number does."""
    st.markdown(at_k(sweep, k, embedding.counts))


def show_curves(embedding: ShardedEmbedding, sweep: ShardedSweep, k: int, tiles: TileMap | None) -> None:
    """Show accuracy, agreement and ghosts for every number, beside chance and the black box."""
    st.header("What each number gives", anchor=False)
    chance = {"Always the largest class": float(embedding.counts.max()) / embedding.rows}
    right = black_box_accuracy(tiles)
    black_box = {} if right is None else {"Black box": right}
    shown = {"Accuracy ↑": (sweep.accuracy, "Images (%)", black_box | chance)}
    if (agreement := agreement_of(sweep)) is not None:
        shown["Agreement ↑"] = (agreement, "Images (%)", {})
    shown["Ghost prototypes ↓"] = (sweep.ghosting, "Prototypes (%)", {})
    for place, (title, (values, axis, beside)) in zip(st.columns(len(shown), gap="medium"), shown.items(), strict=True):
        with place:
            st.markdown(f"**{title}**")
            about = f"{title} for {len(values)} numbers of prototypes per class"
            show_figure(f"large-{title.split()[0]}", over_k_figure(np.asarray(values), k, axis, beside), about)
